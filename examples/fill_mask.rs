//! What could stand in place of the mask: `cargo run --example fill_mask -- MODEL "The capital of France is [MASK]."`

use tch_transformers::pipeline::{FillMask, FillMaskSettings, Options};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (model, text) = arguments.next().zip(arguments.next()).ok_or("the model or the text is missing")?;

    let pipeline = FillMask::from_pretrained(model, &Options::default())?;
    for mask in pipeline.fill(&[&text], &FillMaskSettings { top_k: 3, ..Default::default() })?.concat() {
        for fill in mask {
            println!("{:.3}  {}", fill.score, fill.sequence);
        }
    }
    Ok(())
}
