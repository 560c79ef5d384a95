//! Macros that give an architecture the classes of its blueprint.

/// Implements the heads of an architecture: `classes!(Llama, spec, decoder::Class, [TextGeneration, …])`, where `spec`
/// makes the blueprint's spec of the configuration, and the trait builds the class of each task from it.
macro_rules! classes {
    ($architecture:ty, $spec:path, $class:path, [$($task:ident),* $(,)?]) => {
        $(
            impl $crate::model::Head<$crate::tasks::$task> for $architecture {
                fn load(
                    config: &Self::Config,
                    weights: &$crate::weights::Weights,
                ) -> $crate::Result<Box<dyn $crate::model::Module>> {
                    let spec = $spec(config)?;
                    Ok(<$crate::tasks::$task as $class>::load(spec, weights))
                }
            }
        )*
    };
}
pub(crate) use classes;

/// Declares an architecture of a blueprint, and its classes as [`classes!`] does:
/// `architecture! { pub struct Llama(LlamaConfig) = spec; decoder::Class; [TextGeneration, …] }`.
macro_rules! architecture {
    (
        $(#[$meta:meta])*
        pub struct $architecture:ident($config:ty) = $spec:path;
        $class:path;
        $tasks:tt
    ) => {
        $(#[$meta])*
        #[derive(Debug)]
        pub struct $architecture;

        impl $crate::model::Architecture for $architecture {
            type Config = $config;
        }

        $crate::models::classes::classes!($architecture, $spec, $class, $tasks);
    };
}
pub(crate) use architecture;
