//! Numbers with their units, as people say them.

/// `1.50 s`, `3.00 MiB`, `1 234 567`, `42 widgets`.
pub fn quantity(value: i128, unit: &str) -> String {
    match unit {
        "nanoseconds" | "ns" => scaled(
            value,
            &[
                (3_600_000_000_000, "h"),
                (60_000_000_000, "min"),
                (1_000_000_000, "s"),
                (1_000_000, "ms"),
                (1_000, "µs"),
            ],
            "ns",
        ),
        "bytes" | "byte" | "By" => scaled(value, &[(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")], "B"),
        "" | "count" | "1" => grouped(value),
        unit => format!("{} {unit}", grouped(value)),
    }
}

fn scaled(value: i128, steps: &[(i128, &str)], smallest: &str) -> String {
    match steps.iter().find(|(step, _)| value.abs() >= *step) {
        Some((step, unit)) => format!("{:.2} {unit}", value as f64 / *step as f64),
        None => format!("{value} {smallest}"),
    }
}

/// `1 234 567`
pub fn grouped(value: i128) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    if value < 0 { format!("-{text}") } else { text }
}

/// `1 stack`, `1 234 stacks`
pub fn counted(count: usize, what: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {what}{plural}", grouped(count as i128))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_said_as_people_say_them() {
        assert_eq!(quantity(1_234_567, "count"), "1 234 567");
        assert_eq!(quantity(-1_234, "widgets"), "-1 234 widgets");
        assert_eq!(quantity(1_500_000_000, "nanoseconds"), "1.50 s");
        assert_eq!(quantity(999, "nanoseconds"), "999 ns");
        assert_eq!(quantity(3 << 20, "bytes"), "3.00 MiB");
    }

    #[test]
    fn what_is_counted_has_its_plural() {
        assert_eq!(counted(1, "stack"), "1 stack");
        assert_eq!(counted(1_234, "stack"), "1 234 stacks");
    }
}
