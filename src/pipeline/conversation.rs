use std::ops::ControlFlow;

use serde::Serialize;
use tch::Tensor;

use super::{TextGeneration, TextGenerationSettings};
use crate::generation::Prefix;
use crate::text::{Message, Streamer};
use crate::{Error, GenerationConfig, Inputs, Result};

/// Messages of a user and answers of a model, one after the other.
///
/// What the model has read of the turns before is remembered: of the text of a turn only that is passed which comes after
/// the last token that it shares with what was read. Most templates write a conversation on, so that this is what was said
/// since; where a template writes it anew, or the model cannot go back to that token (see [`Prefix::shared`]), all of it is
/// passed. The answer is the same either way.
///
/// ```no_run
/// # use std::ops::ControlFlow;
/// # use tch_transformers::{Error, pipeline::{TextGeneration, TextGenerationSettings}, text::Message};
/// # fn talk(pipeline: &TextGeneration) -> Result<(), Error> {
/// let mut conversation = pipeline.conversation(vec![Message::system("Answer in one sentence.")]);
/// let settings = TextGenerationSettings::greedy(100);
/// for question in ["What is the capital of France?", "And of Germany?"] {
///     conversation.say(Message::user(question), &settings, |piece| {
///         print!("{piece}");
///         ControlFlow::Continue(())
///     })?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Conversation<'a> {
    pipeline: &'a TextGeneration,
    messages: Vec<Message>,
    /// What the model has read and written.
    read: Option<Prefix>,
    /// Answers since it began.
    answers: u64,
}

/// What came of one message.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Turn {
    /// What the model said, as it stands in the conversation.
    pub answer: Message,
    /// Tokens of the conversation up to the answer.
    pub prompt_tokens: usize,
    /// How many of them the model remembered from the turns before; only the others were passed.
    pub remembered_tokens: usize,
    /// Tokens of the answer, the one that ends it included.
    pub new_tokens: usize,
    /// Why there are no more.
    pub ending: Ending,
}

/// Why an answer is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// The model has ended it, or written a text that ends it.
    Finished,
    /// It is as long as the settings or the positions of the model allow.
    Length,
    /// Who it was handed to has stopped it.
    Stopped,
}

impl<'a> Conversation<'a> {
    pub(super) fn new(pipeline: &'a TextGeneration, messages: Vec<Message>) -> Self {
        Self { pipeline, messages, read: None, answers: 0 }
    }

    /// All messages so far.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// Tells the model to be something else from the next turn on, or nothing in particular.
    pub fn set_system(&mut self, text: Option<&str>) {
        let told = usize::from(self.messages.first().is_some_and(|first| first.role() == SYSTEM));
        self.messages.splice(..told, text.map(Message::system));
    }

    /// Begins anew, with what the model is told to be and nothing else.
    pub fn reset(&mut self) {
        self.messages.retain(|message| message.role() == SYSTEM);
        (self.read, self.answers) = (None, 0);
    }

    /// Adds `message` and the model's answer to the conversation.
    ///
    /// `on_piece` is called with every token of the answer: with the text that has become certain by it, word by word,
    /// which may be empty, and in the end with what is left. It stops the answer by breaking; the answer then is what was
    /// written until there. An answer never exceeds the positions of the model, whatever `max_new_tokens` says. What is
    /// drawn for the first answer is what [`TextGeneration::chat`] draws with the same seed, and for each further one what
    /// it draws with the next seed.
    ///
    /// # Errors
    /// As [`TextGeneration::stream_chat`]; the conversation is then what it was.
    pub fn say(
        &mut self,
        message: Message,
        settings: &TextGenerationSettings,
        on_piece: impl FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Turn> {
        self.messages.push(message);
        let turn = self.answer(settings, on_piece);
        match &turn {
            Ok(turn) => self.messages.push(turn.answer.clone()),
            Err(_) => drop(self.messages.pop()),
        }
        turn
    }

    fn answer(
        &mut self,
        settings: &TextGenerationSettings,
        mut on_piece: impl FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Turn> {
        let (writer, model) = (&self.pipeline.writer, self.pipeline.text().model());
        let tokenizer = self.pipeline.text().tokenizer();
        let text = self.pipeline.rendered(&self.messages, settings)?;
        let prompt: Vec<i64> = tokenizer
            .encode_plain(&[&text])?
            .iter()
            .flat_map(tokenizers::Encoding::get_ids)
            .map(|id| i64::from(*id))
            .collect();
        if prompt.is_empty() {
            return Err(Error::Tokenizer("the conversation has no tokens".into()));
        }
        let config = within(self.pipeline.text().positions(), prompt.len(), self.pipeline.streaming(settings)?);
        let prefix = match &self.read {
            Some(read) if config.use_cache => read.shared(model, &prompt)?,
            _ => None,
        };
        let skip = settings.skip_special_tokens.unwrap_or(true);
        let mut streamer = Streamer::new(tokenizer, skip);
        let mut written = Vec::new();
        let mut ending = Ending::Length;
        let mut on_step = |step: &crate::generation::Step| {
            if step.ended.first() == Some(&true) {
                ending = Ending::Finished;
            }
            let Some(token) = step.tokens.first() else { return Ok(ControlFlow::Continue(())) };
            written.push(*token);
            let flow = on_piece(&streamer.push(*token)?);
            if flow.is_break() && ending != Ending::Finished {
                ending = Ending::Stopped;
            }
            Ok(flow)
        };
        let inputs = Inputs::new().with("input_ids", Tensor::from_slice(&prompt).unsqueeze(0));
        let seed = settings.seed.wrapping_add(self.answers);
        let generated = writer.run(&inputs, &config, seed, prefix.as_ref(), &mut on_step)?;
        if ending != Ending::Stopped {
            let _ = on_piece(&streamer.finish()?);
        }
        let turn = Turn {
            answer: Message::assistant(tokenizer.decode(&written, skip)?),
            prompt_tokens: prompt.len(),
            remembered_tokens: prefix.map_or(0, |prefix| prefix.len()),
            new_tokens: written.len(),
            ending,
        };
        self.read = Some(generated.prefix);
        self.answers += 1;
        Ok(turn)
    }
}

const SYSTEM: &str = "system";

/// `config` for as many tokens at most as fit into `positions` after a prompt.
fn within(positions: usize, prompt: usize, config: GenerationConfig) -> GenerationConfig {
    // The last token is never passed.
    let length = positions.saturating_add(1);
    match length.saturating_sub(prompt) {
        0 => config,
        room => GenerationConfig {
            max_new_tokens: config.max_new_tokens.map(|new| new.min(room)),
            max_length: config.max_length.map(|most| most.min(length)),
            ..config
        },
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;
    use std::sync::atomic::AtomicI64;

    use serde_json::json;

    use super::*;
    use crate::generation::watched::taken;
    use crate::pipeline::Options;
    use crate::verify::cases_directory;

    /// Written on from turn to turn.
    const GROWING: &str =
        "{% for message in messages %}{{ message.role }} {{ message.content }} </s> {% endfor %}assistant";
    /// Of answers before the last one, only the last word is left.
    const SHORTENED: &str = "{% for message in messages %}{{ message.role }} {% if message.role == 'assistant' %}\
        {{ message.content.split(' ')[-1] }}{% else %}{{ message.content }}{% endif %} </s> {% endfor %}assistant";
    /// Other words at the beginning each time.
    const ANEW: &str =
        "{{ 'abcdefgh'[messages | length] }} {% for message in messages %}{{ message.content }} {% endfor %}";

    /// A committed case with words for tokens and `template`, and the number of tokens that pass through its model.
    fn chatting(case: &str, template: &str) -> (TextGeneration, Arc<AtomicI64>) {
        let folder = tempfile::tempdir().unwrap();
        let case = cases_directory().join(case).join("text-generation");
        let words = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/chat/words");
        for file in [case.join("config.json"), case.join("weights.json"), words.join("tokenizer.json")] {
            std::fs::copy(&file, folder.path().join(file.file_name().unwrap())).unwrap();
        }
        let settings = json!({"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": template});
        std::fs::write(folder.path().join("tokenizer_config.json"), settings.to_string()).unwrap();
        let mut pipeline = TextGeneration::from_pretrained(folder.path(), &Options::default()).unwrap();
        let (text, count) = pipeline.writer.text.watched();
        pipeline.writer.text = text;
        (pipeline, count)
    }

    fn settings(new: usize) -> TextGenerationSettings {
        let mut settings = TextGenerationSettings::greedy(new);
        settings.generation.insert("suppress_tokens".into(), json!([0, 1, 2]));
        settings
    }

    fn go_on(_: &str) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    #[test]
    fn what_was_read_is_not_read_again_and_answers_are_the_same() {
        for case in ["llama", "gpt2", "gemma2", "mistral", "mamba", "jamba"] {
            for template in [GROWING, SHORTENED, ANEW] {
                let (pipeline, count) = chatting(case, template);
                let mut conversation = pipeline.conversation(vec![Message::system("a")]);
                let mut read = 0;
                for (index, said) in ["b", "c", "e"].into_iter().enumerate() {
                    let messages = [conversation.messages(), &[Message::user(said)]].concat();
                    let whole = pipeline.chat(&messages, &settings(2)).unwrap();
                    taken(&count);
                    let turn = conversation.say(Message::user(said), &settings(2), go_on).unwrap();
                    let about = format!("{case}, turn {index} of {template}: {turn:?}");
                    assert_eq!(turn.answer.text(), Some(&*whole[0]), "{about}");
                    assert_eq!((turn.new_tokens, turn.ending), (2, Ending::Length), "{about}");
                    // The last token of an answer is passed with what follows it.
                    let passed = turn.prompt_tokens - turn.remembered_tokens + turn.new_tokens - 1;
                    assert_eq!(taken(&count) as usize, passed, "{about}");
                    let recurrent = ["mamba", "jamba"].contains(&case);
                    match (template, index) {
                        (GROWING, _) => assert_eq!(turn.remembered_tokens, read, "{about}"),
                        (SHORTENED, 1..) if !recurrent => assert!(turn.remembered_tokens + 2 >= read, "{about}"),
                        (SHORTENED, 1..) => {}
                        _ => assert_eq!(turn.remembered_tokens, 0, "{about}"),
                    }
                    read = turn.prompt_tokens + turn.new_tokens - 1;
                }
                assert_eq!(conversation.messages().len(), 7);
            }
        }
    }

    #[test]
    fn an_answer_ends_as_it_is_told_to() {
        let (pipeline, _) = chatting("llama", GROWING);
        let mut conversation = pipeline.conversation(Vec::new());
        let whole = pipeline.chat(&[Message::user("b")], &settings(4)).unwrap().remove(0);
        let words: Vec<&str> = whole.split(' ').collect();
        let mut tokens = 0;
        let stopping = |_: &str| {
            tokens += 1;
            if tokens == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let turn = conversation.say(Message::user("b"), &settings(4), stopping).unwrap();
        assert_eq!((turn.ending, turn.new_tokens), (Ending::Stopped, 2));
        assert_eq!(turn.answer.text(), Some(&*words[..2].join(" ")));
        // What was stopped is gone on from.
        let messages = [conversation.messages(), &[Message::user("c")]].concat();
        let whole = pipeline.chat(&messages, &settings(4)).unwrap();
        let turn = conversation.say(Message::user("c"), &settings(4), go_on).unwrap();
        assert_eq!((turn.answer.text(), turn.remembered_tokens > 0), (Some(&*whole[0]), true));

        conversation.reset();
        let mut stops = settings(4);
        let end = pipeline.text().tokenizer().inner().token_to_id(words[0]);
        stops.generation.insert("eos_token_id".into(), json!(end));
        let mut pieces = String::new();
        let mut keep = |piece: &str| {
            pieces.push_str(piece);
            ControlFlow::Continue(())
        };
        let turn = conversation.say(Message::user("b"), &stops, &mut keep).unwrap();
        assert_eq!((turn.ending, turn.new_tokens, turn.remembered_tokens), (Ending::Finished, 1, 0));
        assert_eq!(pieces, words[0]);
    }

    #[test]
    fn answers_keep_to_the_positions_of_the_model() {
        let (pipeline, _) = chatting("gpt2", GROWING);
        let most = pipeline.text().positions();
        let mut conversation = pipeline.conversation(Vec::new());
        let turn = conversation.say(Message::user("b"), &settings(1000), go_on).unwrap();
        assert_eq!(turn.prompt_tokens + turn.new_tokens, most + 1);
        let before = conversation.messages().to_vec();
        assert!(conversation.say(Message::user("c"), &settings(1), go_on).is_err());
        assert_eq!(conversation.messages(), before);
        conversation.reset();
        assert!(conversation.say(Message::user("c"), &settings(1), go_on).is_ok());
    }

    #[test]
    fn what_the_model_is_told_to_be_changes_and_outlives_a_new_beginning() {
        let (pipeline, _) = chatting("llama", GROWING);
        let mut conversation = pipeline.conversation(vec![Message::system("a")]);
        conversation.say(Message::user("b"), &settings(1), go_on).unwrap();
        conversation.set_system(Some("c"));
        let turn = conversation.say(Message::user("b"), &settings(1), go_on).unwrap();
        assert_eq!((conversation.messages()[0].text(), turn.remembered_tokens), (Some("c"), 1));
        conversation.reset();
        assert_eq!(conversation.messages(), [Message::system("c")]);
        conversation.set_system(None);
        assert!(conversation.messages().is_empty());
        conversation.set_system(Some("d"));
        assert_eq!(conversation.messages(), [Message::system("d")]);
    }

    #[test]
    fn drawn_answers_are_those_of_their_seed() {
        let (pipeline, _) = chatting("llama", GROWING);
        let mut drawn = settings(5);
        drawn.generation.insert("do_sample".into(), json!(true));
        let mut conversation = pipeline.conversation(Vec::new());
        for turn in 0..3 {
            let messages = [conversation.messages(), &[Message::user("b")]].concat();
            let whole = pipeline.chat(&messages, &TextGenerationSettings { seed: 7 + turn, ..drawn.clone() }).unwrap();
            let said = TextGenerationSettings { seed: 7, ..drawn.clone() };
            assert_eq!(conversation.say(Message::user("b"), &said, go_on).unwrap().answer.text(), Some(&*whole[0]));
        }
        let beams =
            TextGenerationSettings { generation: [("num_beams".into(), json!(2))].into_iter().collect(), ..drawn };
        assert!(matches!(conversation.say(Message::user("b"), &beams, go_on), Err(Error::Input { .. })));
    }
}
