//! The special tokens around texts.

use tokenizers::PostProcessorWrapper;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::bert::BertProcessing;
use tokenizers::processors::roberta::RobertaProcessing;
use tokenizers::processors::template::{SpecialToken, TemplateProcessing};

use super::languages::{WHISPER, WHISPER_ALIASES};
use super::recipe::{Process, Template};
use super::settings::{Given, Settings};

/// What a post-processor is made of.
pub(super) struct Roles<'a> {
    pub inner: &'a tokenizers::Tokenizer,
    pub roles: &'a [(String, Given)],
    pub settings: &'a Settings,
}

impl Roles<'_> {
    /// The post-processor, where `stored` is that of `tokenizer.json`.
    pub fn processor(
        &self,
        process: &Process,
        stored: Option<PostProcessorWrapper>,
    ) -> tokenizers::Result<PostProcessorWrapper> {
        let options = &self.settings.options;
        match process {
            Process::Stored => self.stored_or_flags(stored),
            Process::Flags => self.flags(),
            Process::Default(template) => {
                let stored = stored.map_or_else(|| self.template(template), Ok)?;
                self.stored_or_flags(Some(stored))
            }
            Process::Untrimmed => {
                let stored = stored.unwrap_or_else(|| ByteLevel::new(true, false, true).into());
                self.stored_or_flags(Some(stored))
            }
            Process::Template(template) => self.template(template),
            Process::Refined(template) => match stored {
                Some(_) => self.template(template),
                None => self.flags(),
            },
            Process::Roberta { trim, prefix } => {
                let processing = RobertaProcessing::new(self.pair("sep_token")?, self.pair("cls_token")?)
                    .trim_offsets(trim.or(options.trim_offsets).unwrap_or(true))
                    .add_prefix_space(prefix.or(options.add_prefix_space).unwrap_or(false));
                Ok(processing.into())
            }
            Process::Clip => {
                let processing = RobertaProcessing::new(self.pair("eos_token")?, self.pair("bos_token")?);
                Ok(processing.trim_offsets(false).add_prefix_space(false).into())
            }
            Process::Bert { cls, sep } => {
                let token = |role: &str| self.pair(role).map(|(token, _)| token);
                Ok(BertProcessing::new((token("sep_token")?, *sep), (token("cls_token")?, *cls)).into())
            }
            Process::Language { codes_first, default } => {
                let code = options.src_lang.as_deref().unwrap_or(default);
                let template = match codes_first ^ options.legacy_behaviour.unwrap_or(false) {
                    true => Template { single: "lang $A eos", pair: "lang $A $B eos" },
                    false => Template { single: "$A eos lang", pair: "$A $B eos lang" },
                };
                self.template_with(&template, Some(("lang", code.to_owned(), self.id(code)?)))
            }
            Process::Whisper => self.whisper(),
        }
    }

    fn stored_or_flags(&self, stored: Option<PostProcessorWrapper>) -> tokenizers::Result<PostProcessorWrapper> {
        let options = &self.settings.options;
        match stored {
            Some(stored) if options.add_bos_token.is_none() && options.add_eos_token.is_none() => Ok(stored),
            _ => self.flags(),
        }
    }

    /// As `add_bos_token` and `add_eos_token` say, for tokens that there are.
    fn flags(&self) -> tokenizers::Result<PostProcessorWrapper> {
        let options = &self.settings.options;
        let is = |flag: Option<bool>, role: &str| flag.unwrap_or(false) && self.token(role).is_some();
        let (bos, eos) = (is(options.add_bos_token, "bos_token"), is(options.add_eos_token, "eos_token"));
        let around = |text: &str, kind: u32| {
            let (bos, eos) = (
                if bos { format!("bos:{kind} ") } else { String::new() },
                if eos { format!(" eos:{kind}") } else { String::new() },
            );
            format!("{bos}{text}:{kind}{eos}")
        };
        let (first, second) = (around("$A", 0), around("$B", 1));
        self.template(&Template { single: &first, pair: &format!("{first} {second}") })
    }

    fn template(&self, template: &Template) -> tokenizers::Result<PostProcessorWrapper> {
        self.template_with(template, None)
    }

    fn template_with(
        &self,
        template: &Template,
        further: Option<(&str, String, u32)>,
    ) -> tokenizers::Result<PostProcessorWrapper> {
        let names = template.pair.split(' ').map(|part| part.split(':').next().unwrap_or(part));
        let mut tokens = Vec::new();
        for name in names.filter(|name| !name.starts_with('$')) {
            let (content, id) = match &further {
                Some((further, content, id)) if *further == name => (content.clone(), *id),
                _ => self.pair(&format!("{name}_token"))?,
            };
            tokens.push(SpecialToken::new(name.to_owned(), vec![id], vec![content])?);
        }
        let built = TemplateProcessing::builder()
            .try_single(template.single)?
            .try_pair(template.pair)?
            .special_tokens(tokens)
            .build();
        Ok(built.map_err(|error| error.to_string())?.into())
    }

    /// Start, language, task and whether there are timestamps, before the text.
    fn whisper(&self) -> tokenizers::Result<PostProcessorWrapper> {
        let options = &self.settings.options;
        let start = self.id("<|startoftranscript|>")?;
        let mut ids = vec![start];
        if let Some(language) = &options.language {
            ids.push(start + 1 + whisper_language(language)?);
        }
        match options.task.as_deref() {
            Some(task @ ("transcribe" | "translate")) => ids.push(self.id(&format!("<|{task}|>"))?),
            Some(task) => return Err(format!("`task` is `{task}`; it can be `transcribe` or `translate`").into()),
            None => {}
        }
        if !options.predict_timestamps.unwrap_or(false) {
            ids.push(self.id("<|notimestamps|>")?);
        }
        let content = |id: &u32| self.inner.id_to_token(*id).ok_or_else(|| format!("the vocabulary has no id {id}"));
        let tokens = ids.iter().map(content).collect::<Result<Vec<_>, _>>()?;
        let (eos, eos_id) = self.pair("eos_token")?;
        let specials = vec![
            SpecialToken::new("prefix".into(), ids, tokens)?,
            SpecialToken::new("eos".into(), vec![eos_id], vec![eos])?,
        ];
        let built = TemplateProcessing::builder()
            .try_single("prefix:0 $A:0 eos:0")?
            .try_pair("prefix:0 $A:0 $B:1 eos:1")?
            .special_tokens(specials)
            .build();
        Ok(built.map_err(|error| error.to_string())?.into())
    }

    fn token(&self, role: &str) -> Option<&str> {
        self.roles.iter().find(|(name, _)| name == role).map(|(_, token)| token.content())
    }

    /// A token with a role and its id.
    fn pair(&self, role: &str) -> Result<(String, u32), String> {
        let token = self.token(role).ok_or_else(|| format!("there is no `{role}`, which stands around texts"))?;
        Ok((token.to_owned(), self.id(token)?))
    }

    /// The id of a token, or that of the unknown token.
    fn id(&self, token: &str) -> Result<u32, String> {
        let unknown = || self.inner.token_to_id(self.token("unk_token")?);
        self.inner.token_to_id(token).or_else(unknown).ok_or_else(|| format!("the vocabulary has no `{token}`"))
    }
}

/// The place of a language, by code or name, among those of Whisper.
fn whisper_language(language: &str) -> Result<u32, String> {
    let language = language.to_lowercase();
    let code = WHISPER_ALIASES.iter().find(|(_, name)| *name == language).map_or(language.as_str(), |(code, _)| code);
    let places = WHISPER.iter().zip(0..).find(|((short, name), _)| *short == code || *name == code);
    places.map(|(_, place)| place).ok_or_else(|| format!("`language` is `{language}`, which Whisper does not know"))
}
