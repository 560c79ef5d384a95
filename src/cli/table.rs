use comfy_table::{ContentArrangement, presets};

/// Columns of text, aligned.
pub struct Table(comfy_table::Table);

impl Table {
    pub fn new<const N: usize>(headers: [&str; N]) -> Self {
        let mut table = comfy_table::Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(headers);
        Self(table)
    }

    pub fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.0.add_row(cells);
    }

    pub fn render(&self) -> String {
        self.0.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
    }
}
