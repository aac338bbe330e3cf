//! Tables for people.

use std::io::{self, Write};

/// Writes rows as columns, each as wide as its widest field; the last one is as wide as it is.
///
/// # Errors
/// If it cannot be written.
pub fn columns<const N: usize>(rows: &[[String; N]], out: &mut impl Write) -> io::Result<()> {
    let mut widths = [0; N];
    for row in rows {
        for (width, field) in widths.iter_mut().zip(row) {
            *width = (*width).max(field.chars().count());
        }
    }
    for row in rows {
        let fields = widths.iter().zip(row).map(|(width, field)| format!("{field:width$}"));
        writeln!(out, "{}", fields.collect::<Vec<_>>().join("  ").trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_need_be() {
        let mut out = Vec::new();
        let rows = [["A", "B"], ["long", "x"], ["é", ""]].map(|row| row.map(str::to_owned));
        columns(&rows, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "A     B\nlong  x\né\n");
    }
}
