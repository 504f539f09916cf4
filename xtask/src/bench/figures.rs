//! Figures as people read them: three or four digits that matter, thousands apart.

/// A figure for a table: `0.0123`, `4.60`, `21.3`, `592`, `97,412`.
pub fn shown(figure: f64) -> String {
    let size = figure.abs();
    if !figure.is_finite() {
        "–".to_owned()
    } else if size >= 100.0 {
        thousands(figure)
    } else if size >= 10.0 {
        format!("{figure:.1}")
    } else if size >= 1.0 || size == 0.0 {
        format!("{figure:.2}")
    } else {
        let digits = (2.0 - size.log10().floor()).clamp(0.0, 9.0);
        format!("{figure:.*}", digits as usize)
    }
}

fn thousands(figure: f64) -> String {
    let digits = format!("{:.0}", figure.abs());
    let mut text = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    if figure < 0.0 {
        text.push('-');
    }
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_keep_three_digits_that_matter() {
        let cases = [
            (0.0, "0.00"),
            (0.0123, "0.0123"),
            (0.5, "0.500"),
            (1.0, "1.00"),
            (4.6, "4.60"),
            (21.34, "21.3"),
            (592.4, "592"),
            (1000.0, "1,000"),
            (97_412.0, "97,412"),
            (1_234_567.0, "1,234,567"),
            (-1500.0, "-1,500"),
            (f64::NAN, "–"),
        ];
        for (figure, text) in cases {
            assert_eq!(shown(figure), text);
        }
    }
}
