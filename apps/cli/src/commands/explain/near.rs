//! Names that are near to one nobody knows.

/// How many are named.
const NAMED_MAX: usize = 3;

/// `; did you mean …?`, or nothing.
pub fn hint<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let most = name.chars().count() / 3 + 1;
    let far = |one: &str| if one.contains(name) { 1 } else { distance(name, one) };
    let mut near: Vec<(usize, &str)> =
        known.map(|one| (far(one), one)).filter(|(far, _)| *far <= most).collect();
    near.sort_unstable();
    near.dedup();
    let near: Vec<_> = near.into_iter().take(NAMED_MAX).map(|(_, one)| one).collect();
    if near.is_empty() { String::new() } else { format!("; did you mean {}?", near.join(" or ")) }
}

/// How many characters have to be put in, taken out or changed to make one of the other.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (at, mine) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = at + 1;
        for (nth, theirs) in other.iter().enumerate() {
            let changed = diagonal + usize::from(mine != *theirs);
            diagonal = row[nth + 1];
            row[nth + 1] = changed.min(diagonal + 1).min(row[nth] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_told_the_nearest_first_and_far_ones_are_not() {
        assert_eq!([distance("", "abc"), distance("kitten", "sitting"), distance("a", "a")], [3, 3, 0]);
        let known = ["order.paid", "order.placed", "order.place", "stock.counted"];
        assert_eq!(
            hint("order.plced", known.into_iter()),
            "; did you mean order.placed or order.place or order.paid?"
        );
        assert_eq!(hint("xyz", known.into_iter()), "");
        assert_eq!(hint("paid", known.into_iter()), "; did you mean order.paid?");
    }
}
