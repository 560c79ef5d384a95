use anyhow::Result;
use clap::Args;
use tch_transformers::pipeline::{Fill, FillMask, FillMaskSettings, Fills, OneOrMany};

use super::session::{Common, Session};

#[derive(Debug, Args)]
pub struct Arguments {
    #[command(flatten)]
    common: Common,
    /// Tokens for each mask
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    top_k: u32,
    /// Only these tokens, with commas between them
    #[arg(long, value_name = "TOKENS", value_delimiter = ',')]
    targets: Option<Vec<String>>,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    let session = Session::begin(&arguments.common)?;
    let pipeline = session.load(|model, options| FillMask::from_pretrained(model, options), FillMask::text)?;
    let settings = FillMaskSettings {
        top_k: arguments.top_k.try_into()?,
        targets: arguments.targets.clone().map(OneOrMany::Many),
        ..FillMaskSettings::default()
    };
    session.call(&pipeline, &settings, str::to_owned, |_, fills| match fills {
        Fills::One(fills) => lines(fills) + "\n",
        Fills::Several(masks) => masks.iter().map(|fills| lines(fills) + "\n").collect(),
    })
}

/// A line per token: probability, token, text.
fn lines(fills: &[Fill]) -> String {
    fills.iter().map(|fill| format!("{:.4}  {:<16}  {}\n", fill.score, fill.token_str, fill.sequence)).collect()
}
