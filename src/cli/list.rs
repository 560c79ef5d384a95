use anyhow::Result;
use clap::Args;
use tch_transformers::auto;
use tch_transformers::verify;
use tch_transformers_registry::Category;

use super::selection::in_category;
use super::{PASSED, print, table::Table};

#[derive(Debug, Args)]
pub struct Arguments {
    /// Only this category
    #[arg(long, value_parser = Category::parse)]
    category: Option<Category>,
}

pub fn run(arguments: &Arguments) -> Result<u8> {
    let root = verify::cases_directory();
    let mut text = String::new();
    for category in Category::ALL.into_iter().filter(|category| arguments.category.is_none_or(|only| only == *category))
    {
        let entries: Vec<_> = auto::roster().iter().filter(|entry| in_category(entry, category)).collect();
        let own = entries.iter().filter(|entry| entry.category == category.name()).count();
        let goal = category.target().map(|target| format!(" of {target}")).unwrap_or_default();
        text += &format!("{category}: {own}{goal}\n");
        let mut table = Table::new(["  architecture", "classes", "cases", "tasks", "summary"]);
        for entry in &entries {
            let cases = verify::cases_of(entry, &root).len();
            let tasks = entry.classes.iter().flat_map(|class| class.tasks).copied().collect::<Vec<_>>();
            let tasks = match tasks[..] {
                [] => String::new(),
                [only] => only.to_owned(),
                [first, ..] => format!("{first} and {} more", tasks.len() - 1),
            };
            let of = entry.of.map(|of| format!(" (on {of})")).unwrap_or_default();
            table.row([
                format!("  {}{of}", entry.model_type),
                entry.all_classes().count().to_string(),
                if cases == 0 { "none: not proven".to_owned() } else { cases.to_string() },
                tasks,
                entry.summary.to_owned(),
            ]);
        }
        if !entries.is_empty() {
            text += &table.render();
        }
        text.push('\n');
    }
    print(&text)?;
    Ok(PASSED)
}
