//! `plugin!`: gives the tasks their full names and exports the component.

use std::collections::HashSet;

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Error, LitStr, Path, Result, Token, bracketed};

use crate::name;
use crate::task;

struct Input {
    name: LitStr,
    tasks: Punctuated<Path, Token![,]>,
}

impl Parse for Input {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let name = input.parse()?;
        input.parse::<Token![,]>()?;
        let list;
        bracketed!(list in input);
        let tasks = list.parse_terminated(Path::parse_mod_style, Token![,])?;
        input.parse::<Option<Token![,]>>()?;
        Ok(Self { name, tasks })
    }
}

pub(crate) fn expand(input: TokenStream) -> Result<TokenStream> {
    let Input { name, tasks } = syn::parse2(input)?;
    let plugin = name.value();
    if !name::is_name(&plugin) {
        let message = format!("`{plugin}` cannot be a plugin's name: allowed is {}", name::NAME_RULE);
        return Err(Error::new_spanned(name, message));
    }
    if tasks.is_empty() {
        return Err(Error::new_spanned(name, "a plugin has at least one task: `plugin!(\"name\", [task])`"));
    }

    let mut seen = HashSet::new();
    let (mut types, mut full_names) = (Vec::new(), Vec::new());
    for function in &tasks {
        let ident = &function.segments.last().expect("a path has a segment").ident;
        let short = ident.unraw().to_string();
        let mut path = function.clone();
        path.segments.last_mut().expect("a path has a segment").ident = task::type_name(ident);
        full_names.push(format!("{plugin}.{short}"));
        types.push(path);
        if !seen.insert(short.clone()) {
            return Err(Error::new_spanned(
                function,
                format!("the plugin `{plugin}` has the task `{short}` twice"),
            ));
        }
    }

    let doc = format!("The plugin `{plugin}`, for tests: see `hostler_guest::testing`.");
    let private = quote!(::hostler_guest::__private);
    Ok(quote! {
        #[doc = #doc]
        pub const PLUGIN: ::hostler_guest::Plugin = #private::plugin(
            #plugin,
            ::core::env!("CARGO_PKG_VERSION"),
            &[#(<#types as #private::Define>::ENTRY),*],
        );

        #(
            #[automatically_derived]
            impl ::hostler_guest::Task for #types {
                const NAME: &'static str = #full_names;
                type Args = <#types as #private::Define>::Args;
                type Output = <#types as #private::Define>::Output;
            }
        )*

        // On wasm32 alone: the names of these symbols break the linking of a native cdylib. With the feature alone: two
        // plugins in one component would export the same symbol twice.
        #[cfg(all(target_arch = "wasm32", feature = "export"))]
        const _: () = {
            use #private::bindings::exports::hostler::plugin::guest;

            struct Component;

            impl guest::Guest for Component {
                fn describe() -> ::std::vec::Vec<u8> {
                    #private::describe_export(&PLUGIN)
                }

                fn run(
                    task: ::std::string::String,
                    args: ::std::vec::Vec<u8>,
                ) -> ::core::result::Result<::std::vec::Vec<u8>, guest::Failure> {
                    #private::run_export(&PLUGIN, &task, args)
                }
            }

            #private::bindings::export_plugin!(Component with_types_in #private::bindings);
        };
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_lists_are_refused() {
        for (input, expected) in [
            (quote!("Text", [a]), "`Text` cannot be a plugin's name"),
            (quote!("text", []), "at least one task"),
            (quote!("text", [a, m::a]), "the task `a` twice"),
        ] {
            let error = expand(input).expect_err(expected).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
