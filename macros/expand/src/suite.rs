//! From a checked declaration to its module: proofs, then one test for each check.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::spanned::Spanned;
use tch_transformers_registry::{Check, Device, ident};

use crate::declaration::{Declaration, Field, Literal, first_tasks};

/// The module that a declaration stands for.
pub fn expand(declaration: &Declaration) -> TokenStream {
    let Declaration { module, model, .. } = declaration;
    let (attributes, visibility, name) = (&module.attrs, &module.vis, &module.ident);
    let proofs = proofs(declaration);
    let tests = declaration.checks.iter().flat_map(|check| tests(declaration, check));
    quote! {
        #(#attributes)*
        #visibility mod #name {
            type Model = #model;
            type Config = <Model as ::tch_transformers::model::Architecture>::Config;
            #proofs
            #(#tests)*
        }
    }
}

fn proofs(declaration: &Declaration) -> TokenStream {
    let code = declaration.of.as_ref().unwrap_or(&declaration.model_type);
    let owner = quote_spanned! { code.span() =>
        const _: () = ::tch_transformers::proofs::config_of::<Model>(#code);
    };
    let heads = declaration.tasks.iter().map(|task| {
        let task_type = Ident::new(task.task.type_name, task.span);
        quote_spanned! { task.span =>
            const _: () = ::tch_transformers::proofs::head::<Model, ::tch_transformers::tasks::#task_type>();
        }
    });
    let parts = declaration.parts.iter().map(|part| {
        let (name, model) = (&part.model_type, &part.model);
        quote_spanned! { model.span() =>
            const _: () = ::tch_transformers::proofs::part::<#model>();
            const _: () = ::tch_transformers::proofs::config_of::<#model>(#name);
        }
    });
    let fields = declaration.tiny.iter().chain(declaration.cases.iter().flat_map(|case| &case.tiny)).map(|field| {
        let (key, given) = (&field.key, given(&field.value));
        quote_spanned! { field.span =>
            const _: () = ::tch_transformers::proofs::tiny::<Config>(#key, #given);
        }
    });
    quote! { #owner #(#heads)* #(#parts)* #(#fields)* }
}

fn given(value: &Literal) -> TokenStream {
    let kind = match value {
        Literal::Bool => quote!(Bool),
        Literal::Int => quote!(Int),
        Literal::Float => quote!(Float),
        Literal::Str => quote!(Str),
        Literal::List(items) => {
            let items = items.iter().map(given);
            quote!(List(&[#(#items),*]))
        }
        Literal::Table(fields) => {
            let fields = fields.iter().map(|Field { key, value, .. }| {
                let given = given(value);
                quote!((#key, #given))
            });
            quote!(Table(&[#(#fields),*]))
        }
    };
    quote!(::tch_transformers::proofs::Given::#kind)
}

fn tests(declaration: &Declaration, check: &Check) -> Vec<TokenStream> {
    let cases: Vec<Option<String>> = if check.per_case {
        let classes = first_tasks(&declaration.tasks).map(|task| task.task.tag.to_owned());
        let parts = declaration.parts.iter().map(|part| part.model_type.value());
        let cases = declaration.cases.iter().map(|case| case.name.value());
        classes.chain(parts).chain(cases).map(Some).collect()
    } else {
        vec![None]
    };
    let tests = cases.iter().flat_map(|case| check.devices.iter().map(move |device| (case, *device)));
    tests.map(|(case, device)| test(declaration, check, case.as_deref(), device)).collect()
}

fn test(declaration: &Declaration, check: &Check, case: Option<&str>, device: Device) -> TokenStream {
    let (model_type, check_name) = (&declaration.model_type, check.name);
    let name = test_name(check, case, device);
    let skip = declaration.skip.iter().find(|skip| skip.check == check);
    let ignore = match (skip, device) {
        (Some(skip), _) => {
            let reason = &skip.reason;
            quote!(#[ignore = #reason])
        }
        (None, Device::Cuda) => quote!(#[cfg_attr(not(cuda_device), ignore = "no CUDA device on this machine")]),
        (None, Device::Cpu) => quote!(),
    };
    let case = case.map_or_else(|| quote!(None), |case| quote!(Some(#case)));
    let device = device.name();
    quote! {
        #[test]
        #ignore
        fn #name() {
            ::tch_transformers::verify::assert_check(#model_type, #check_name, #case, #device);
        }
    }
}

/// `config`, `dtype_cpu`, `forward_fill_mask_cuda`: the device stands in the name of what runs on more than the CPU.
fn test_name(check: &Check, case: Option<&str>, device: Device) -> Ident {
    let mut name = check.name.to_owned();
    if let Some(case) = case {
        let case = ident(case).unwrap_or_else(|_| case.replace(|c: char| !c.is_ascii_alphanumeric(), "_"));
        name = format!("{name}_{case}");
    }
    if check.devices != [Device::Cpu] {
        name = format!("{name}_{}", device.name());
    }
    format_ident!("{name}", span = Span::call_site())
}
