//! Boards, as data only: what is known of a machine that does not describe itself.
