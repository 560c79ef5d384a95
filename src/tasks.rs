//! Task tags of Hugging Face as types, so that "this architecture has a head for this task" is a trait bound.

/// A Hugging Face task.
pub trait Task {
    /// The tag as registry entries and the hub spell it.
    const TAG: &'static str;
}

macro_rules! tasks {
    ($($name:ident = $tag:literal [$($category:ident)*],)*) => {
        $(
            #[doc = concat!("`", $tag, "`.")]
            #[derive(Debug, Clone, Copy)]
            pub struct $name;

            impl Task for $name {
                const TAG: &'static str = $tag;
            }
        )*

        /// All tags.
        pub const TAGS: &[&str] = &[$($tag),*];
    };
}

tch_transformers_registry::for_each_task!(tasks);
