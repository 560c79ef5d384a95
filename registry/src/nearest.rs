//! "Did you mean": the option closest to a misspelt name.

/// The option that a typo most likely meant, if any comes close.
pub fn nearest<'a>(name: &str, options: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.chars().count() / 3).max(1);
    options
        .into_iter()
        .map(|option| (strsim::osa_distance(name, option), option))
        .filter(|(distance, _)| *distance <= limit)
        .min()
        .map(|(_, option)| option)
}

/// [`nearest`] as the tail of a message: `; did you mean …?`, or nothing.
pub fn hint<'a>(name: &str, options: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, options).map_or_else(String::new, |option| format!("; did you mean `{option}`?"))
}
