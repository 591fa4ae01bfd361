//! Columns for people.

use crate::output;

/// Prints rows under a header, each column as wide as it must be.
pub fn print(header: &[&str], rows: &[Vec<String>]) {
    print_indented(header, rows, 0);
}

/// The same, with blanks before each line.
pub fn print_indented(header: &[&str], rows: &[Vec<String>], indent: usize) {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([header[column].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..header.len()).map(width).collect();
    let show = |cells: &[String]| {
        let padded: Vec<String> = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        output::line(format!("{:indent$}{}", "", padded.join("  ")).trim_end());
    };
    show(&header.iter().map(|h| (*h).to_owned()).collect::<Vec<_>>());
    rows.iter().for_each(|row| show(row));
}
