module isochron/compare

go 1.22
