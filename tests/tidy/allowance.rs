//! What a rule found, held against what it puts up with. A list of exceptions only ever shrinks: what
//! is not in it fails, and so does what is in it without need.

/// One breach of a rule.
pub struct Breach {
    /// What the list calls it.
    pub name: String,
    /// Where it is and what to do.
    pub message: String,
}

/// Breaches that no entry of the list names, and entries that name no breach any more.
pub fn hold(found: Vec<Breach>, list: &str, allowed: &[(&str, &str)]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, _) in allowed {
        if !found.iter().any(|breach| breach.name == *name) {
            wrong.push(format!("{name}: needs no exception any more; take it out of {list}"));
        }
    }
    for breach in found {
        if !allowed.iter().any(|(name, _)| *name == breach.name) {
            wrong.push(format!("{}: {}", breach.name, breach.message));
        }
    }
    wrong
}

/// Sizes above `most`, against the exceptions and the sizes that those had when they were listed.
pub fn hold_sizes(
    found: Vec<(Breach, usize)>,
    list: &str,
    most: usize,
    allowed: &[(&str, usize)],
) -> Vec<String> {
    let mut wrong = Vec::new();
    for (name, size) in allowed {
        match found.iter().find(|(breach, _)| breach.name == *name) {
            None => wrong.push(format!("{name}: is at most {most} now; take it out of {list}")),
            Some((_, now)) if now < size => {
                wrong.push(format!("{name}: shrank from {size} to {now}; write {now} in {list}"));
            }
            Some(_) => {}
        }
    }
    for (breach, size) in found {
        let listed = allowed.iter().find(|(name, _)| *name == breach.name);
        if listed.is_none_or(|(_, most)| size > *most) {
            let most = listed.map_or(most, |(_, most)| *most);
            wrong.push(format!("{}: {size}, at most {most}: {}", breach.name, breach.message));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn breach(name: &str) -> Breach {
        Breach { name: name.to_owned(), message: "mend it".to_owned() }
    }

    #[test]
    fn what_is_not_listed_and_what_is_listed_in_vain_both_fail() {
        assert_eq!(hold(vec![breach("a")], "LIST", &[("a", "why")]), [] as [&str; 0]);
        assert_eq!(hold(vec![breach("a")], "LIST", &[]), ["a: mend it"]);
        let vain = ["a: needs no exception any more; take it out of LIST"];
        assert_eq!(hold(Vec::new(), "LIST", &[("a", "why")]), vain);
    }

    #[test]
    fn a_listed_size_may_only_shrink_and_the_list_with_it() {
        let of = |size, allowed: &[_]| hold_sizes(vec![(breach("a"), size)], "LIST", 70, allowed);
        assert_eq!(of(80, &[("a", 80)]), [] as [&str; 0]);
        assert_eq!(of(81, &[("a", 80)]), ["a: 81, at most 80: mend it"]);
        assert_eq!(of(79, &[("a", 80)]), ["a: shrank from 80 to 79; write 79 in LIST"]);
        assert_eq!(of(71, &[]), ["a: 71, at most 70: mend it"]);
        let small = hold_sizes(Vec::new(), "LIST", 70, &[("a", 80)]);
        assert_eq!(small, ["a: is at most 70 now; take it out of LIST"]);
    }
}
