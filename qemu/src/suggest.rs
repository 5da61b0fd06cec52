//! "Did you mean": one line for a name that does not exist.

/// Says that `name` is no `kind`, which names there are, and which is nearest.
pub fn unknown<'a>(kind: &str, name: &str, names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    let list = if names.is_empty() { "there is none".to_owned() } else { format!("there are {}", names.join(", ")) };
    let shown: String = name.chars().filter(|c| !c.is_control()).take(60).collect();
    match nearest(name, &names) {
        Some(best) => format!("no {kind} is called '{shown}'; did you mean '{best}'? ({list})"),
        None => format!("no {kind} is called '{shown}'; {list}"),
    }
}

fn nearest<'a>(name: &str, names: &[&'a str]) -> Option<&'a str> {
    let scored = names.iter().map(|n| (strsim::jaro_winkler(name, n), *n));
    scored.filter(|(score, _)| *score > 0.75).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, n)| n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_first() {
        let text = unknown("app", "latncy", ["hello", "latency"]);
        assert_eq!(text, "no app is called 'latncy'; did you mean 'latency'? (there are hello, latency)");
        assert!(!unknown("app", "zzz", ["hello"]).contains("did you mean"));
        assert!(unknown("app", "x", []).contains("there is none"));
        assert_eq!(unknown("app", "a\nb", []).lines().count(), 1);
    }
}
