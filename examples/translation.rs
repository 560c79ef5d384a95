//! Texts translated: `cargo run --example translation -- MODEL en de TEXT ...`

use tch_transformers::pipeline::{Options, TextToTextSettings, Translation};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let model = arguments.next().ok_or("the model is missing")?;
    let (from, to) = (arguments.next(), arguments.next());
    let texts: Vec<String> = arguments.collect();

    let pipeline = Translation::from_pretrained(model, &Options::default())?;
    let settings = TextToTextSettings { src_lang: from, tgt_lang: to, ..Default::default() };
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    for translation in pipeline.generate(&texts, &settings)?.concat() {
        println!("{}", translation.text);
    }
    Ok(())
}
