//! Markdown tables, medians and quantiles.

/// A table of text. The first column is on the left.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new<const N: usize>(head: [&str; N]) -> Table {
        Table { rows: vec![head.map(str::to_owned).to_vec()] }
    }

    pub fn row<const N: usize>(&mut self, row: [String; N]) {
        assert_eq!(row.len(), self.rows[0].len(), "a row has another number of columns than the head");
        self.rows.push(row.to_vec());
    }

    pub fn print(&self) {
        let columns = self.rows[0].len();
        let width = |column: usize| self.rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (number, row) in self.rows.iter().enumerate() {
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
                if column == 0 { format!(" {cell:<width$} ") } else { format!(" {cell:>width$} ") }
            });
            println!("|{}|", cells.collect::<Vec<_>>().join("|"));
            if number == 0 {
                let lines = widths.iter().enumerate().map(|(column, width)| {
                    let line = "-".repeat(width + 1);
                    if column == 0 { format!("{line}-") } else { format!("{line}:") }
                });
                println!("|{}|", lines.collect::<Vec<_>>().join("|"));
            }
        }
        println!();
    }
}

/// The value below which `share` of the values are.
pub fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * share).round() as usize]
}

pub fn median(values: &mut [f64]) -> f64 {
    quantile(values, 0.5)
}

/// Three significant digits, and commas in large numbers.
pub fn digits(value: f64) -> String {
    match value.abs() {
        0.0 => "0".into(),
        size if size < 10.0 => format!("{value:.2}"),
        size if size < 100.0 => format!("{value:.1}"),
        size => {
            let step = 10f64.powi((size.log10().floor() as i32 - 2).max(0));
            with_commas(((value / step).round() * step) as u64)
        }
    }
}

pub fn with_commas(value: u64) -> String {
    let text = value.to_string();
    let mut out = String::new();
    for (at, digit) in text.chars().enumerate() {
        if at > 0 && (text.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}
