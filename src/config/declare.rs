//! The macro that declares configurations.

/// Declares a configuration: each field with its type and the default of the pinned `transformers`.
///
/// ```
/// tch_transformers::config! {
///     /// A toy.
///     pub struct ToyConfig("toy") {
///         hidden_size: i64 = 32,
///         layer_norm_eps: f64 = 1e-5,
///     }
///     ignored: ["dropout"]
///     aliases: [("n_embd", "hidden_size")]
/// }
///
/// tch_transformers::config! {
///     /// The toy, wider and with a window.
///     pub struct WideToyConfig("wide_toy"): ToyConfig {
///         window: Option<i64> = Some(8),
///     }
///     defaults: { hidden_size: 64 }
/// }
/// # use tch_transformers::config::ModelConfig;
/// # let json = serde_json::json!({"n_embd": 16, "window": null});
/// let config = WideToyConfig::from_json(&json)?;
/// assert_eq!((config.hidden_size, config.window), (16, None));
/// assert_eq!(WideToyConfig::default().hidden_size, 64);
/// # Ok::<(), tch_transformers::Error>(())
/// ```
///
/// Every configuration also has `num_labels`. After the fields come, in this order and each optional:
/// `ignored` (fields without influence on the numbers), `aliases` (older spellings), `parts` (fields that are
/// configurations themselves), `upgrade` (a function on the raw fields and the defaults) and `validate` (a function on
/// the finished configuration).
///
/// A configuration that derives from another has its fields too, as if they were its own, and its aliases, upgrades and
/// validation. Before `ignored` it may say `defaults` (other defaults for those fields), `without` (those that Python's
/// class lacks, so that nothing reads them) and `undeclared` (those that Python reads without declaring them).
#[macro_export]
macro_rules! config {
    (
        $(#[$meta:meta])*
        pub struct $name:ident($model_type:literal) {
            $( $(#[$field_meta:meta])* $field:ident : $ty:ty = $default:expr ),* $(,)?
        }
        $(undeclared: [$($undeclared:literal),* $(,)?])?
        $(ignored: [$($ignored:literal),* $(,)?])?
        $(aliases: [$($alias:expr),* $(,)?])?
        $(parts: [$($part:literal),* $(,)?])?
        $(upgrade: $upgrade:expr;)?
        $(validate: $validate:expr;)?
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, ::serde::Serialize, ::serde::Deserialize)]
        #[serde(default)]
        pub struct $name {
            $(
                $(#[$field_meta])*
                #[doc = concat!("Default: `", stringify!($default), "`.")]
                pub $field: $ty,
            )*
            /// Number of labels of a classification head (`num_labels`, or the size of `id2label`). Default: 2.
            pub num_labels: i64,
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $($field: $default,)* num_labels: 2 }
            }
        }

        impl $crate::proofs::Takes for $name {
            const KIND: $crate::proofs::Kind = $crate::proofs::Kind::Config($crate::proofs::Fields {
                model_type: $model_type,
                fields: &[$((stringify!($field), <$ty as $crate::proofs::Takes>::KIND)),*],
                ignored: <Self as $crate::config::ModelConfig>::IGNORED,
                aliases: <Self as $crate::config::ModelConfig>::ALIASES,
                without: &[],
            });
        }

        impl $crate::config::ModelConfig for $name {
            const MODEL_TYPE: &'static str = $model_type;
            const FIELDS: &'static [&'static str] = &[$(stringify!($field)),*];
            const IGNORED: &'static [&'static str] = &[$($($ignored),*)?];
            const ALIASES: &'static [(&'static str, &'static str)] = &[$($($alias),*)?];
            const PARTS: &'static [&'static str] = &[$($($part),*)?];
            const WITHOUT: &'static [&'static str] = &[];
            const UNDECLARED: &'static [&'static str] = &[$($($undeclared),*)?];
            $(fn upgrade(
                fields: &mut ::serde_json::Map<String, ::serde_json::Value>,
                default: &Self,
            ) -> $crate::Result<()> {
                $upgrade(fields, default)
            })?
            $(fn validate(&self) -> $crate::Result<()> {
                $validate(self)
            })?
        }
    };
    (
        $(#[$meta:meta])*
        pub struct $name:ident($model_type:literal): $base:ident {
            $( $(#[$field_meta:meta])* $field:ident : $ty:ty = $default:expr ),* $(,)?
        }
        $(defaults: { $($changed:ident : $value:expr),* $(,)? })?
        $(without: [$($without:literal),* $(,)?])?
        $(undeclared: [$($undeclared:literal),* $(,)?])?
        $(ignored: [$($ignored:literal),* $(,)?])?
        $(aliases: [$($alias:expr),* $(,)?])?
        $(parts: [$($part:literal),* $(,)?])?
        $(upgrade: $upgrade:expr;)?
        $(validate: $validate:expr;)?
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, ::serde::Serialize)]
        pub struct $name {
            /// The fields of the configuration that this one derives from.
            #[serde(flatten)]
            pub base: $base,
            $(
                $(#[$field_meta])*
                #[doc = concat!("Default: `", stringify!($default), "`.")]
                pub $field: $ty,
            )*
        }

        impl Default for $name {
            fn default() -> Self {
                let base = &mut $base::default();
                $($(base.$changed = $value;)*)?
                Self { base: base.clone(), $($field: $default,)* }
            }
        }

        impl ::std::ops::Deref for $name {
            type Target = $base;

            fn deref(&self) -> &$base {
                &self.base
            }
        }

        impl ::std::ops::DerefMut for $name {
            fn deref_mut(&mut self) -> &mut $base {
                &mut self.base
            }
        }

        impl<'de> ::serde::Deserialize<'de> for $name {
            fn deserialize<D: ::serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let fields = <::serde_json::Map<_, _> as ::serde::Deserialize>::deserialize(deserializer)?;
                <Self as $crate::config::ModelConfig>::parse(fields).map_err(::serde::de::Error::custom)
            }
        }

        impl $crate::proofs::Takes for $name {
            const KIND: $crate::proofs::Kind = {
                const BASE: $crate::proofs::Fields = $crate::proofs::fields_of(<$base as $crate::proofs::Takes>::KIND);
                const OWN: &[(&str, $crate::proofs::Kind)] =
                    &[$((stringify!($field), <$ty as $crate::proofs::Takes>::KIND)),*];
                $crate::proofs::Kind::Config($crate::proofs::Fields {
                    model_type: $model_type,
                    fields: &$crate::proofs::concat::<_, { BASE.fields.len() + OWN.len() }>(
                        BASE.fields, OWN, ("", $crate::proofs::Kind::Any),
                    ),
                    ignored: <Self as $crate::config::ModelConfig>::IGNORED,
                    aliases: <Self as $crate::config::ModelConfig>::ALIASES,
                    without: <Self as $crate::config::ModelConfig>::WITHOUT,
                })
            };
        }

        const _: () = {
            type Base = $base;
            const FIELDS: &[&str] = &[$(stringify!($field)),*];
            const IGNORED: &[&str] = &[$($($ignored),*)?];
            const ALIASES: &[(&str, &str)] = &[$($($alias),*)?];
            const PARTS: &[&str] = &[$($($part),*)?];
            const WITHOUT: &[&str] = &[$($($without),*)?];
            const UNDECLARED: &[&str] = &[$($($undeclared),*)?];

            #[derive(::serde::Deserialize)]
            #[serde(default)]
            struct Own {
                $($field: $ty,)*
            }

            impl Default for Own {
                fn default() -> Self {
                    Self { $($field: $default,)* }
                }
            }

            macro_rules! inherited {
                ($list:ident, $blank:expr) => {
                    &$crate::proofs::concat::<_, { <Base as $crate::config::ModelConfig>::$list.len() + $list.len() }>(
                        <Base as $crate::config::ModelConfig>::$list, $list, $blank,
                    )
                };
            }

            impl $crate::config::ModelConfig for $name {
                const MODEL_TYPE: &'static str = $model_type;
                const FIELDS: &'static [&'static str] = inherited!(FIELDS, "");
                const IGNORED: &'static [&'static str] = inherited!(IGNORED, "");
                const ALIASES: &'static [(&'static str, &'static str)] = inherited!(ALIASES, ("", ""));
                const PARTS: &'static [&'static str] = inherited!(PARTS, "");
                const WITHOUT: &'static [&'static str] = inherited!(WITHOUT, "");
                const UNDECLARED: &'static [&'static str] = inherited!(UNDECLARED, "");

                fn upgrade(
                    fields: &mut ::serde_json::Map<String, ::serde_json::Value>,
                    default: &Self,
                ) -> $crate::Result<()> {
                    $($upgrade(fields, default)?;)?
                    Base::upgrade(fields, &default.base).map_err($crate::config::heir_of::<Base, Self>)
                }

                fn validate(&self) -> $crate::Result<()> {
                    self.base.validate().map_err($crate::config::heir_of::<Base, Self>)?;
                    $($validate(self)?;)?
                    Ok(())
                }

                fn parse(
                    fields: ::serde_json::Map<String, ::serde_json::Value>,
                ) -> $crate::Result<Self> {
                    let fields = $crate::config::filled(&Self::default(), fields)?;
                    let base = Base::parse(fields.clone()).map_err($crate::config::heir_of::<Base, Self>)?;
                    let Own { $($field),* } = $crate::config::parse(Self::MODEL_TYPE, fields)?;
                    Ok(Self { base, $($field),* })
                }
            }
        };
    };
}
