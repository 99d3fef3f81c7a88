//! `#[task]`: a function stays, a unit type and its `Define` come.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{Error, ItemFn, Result};

use crate::signature::{description, parameter, refuse_clash, returned, short_name};
use crate::{name, options};

pub(crate) fn expand(options: TokenStream, item: TokenStream) -> Result<TokenStream> {
    let function: ItemFn = syn::parse2(item).map_err(|error| {
        Error::new(
            error.span(),
            "`#[task]` belongs on a function: `fn name(args: Args) -> Result<T, Failure>`",
        )
    })?;
    let policy = options::policy(options)?;
    let parameter = parameter(&function.sig)?;
    let returned = returned(&function.sig)?;
    let short_name = short_name(&function.sig.ident)?;

    let ItemFn { vis, sig, .. } = &function;
    let (run, task) = (&sig.ident, type_name(&sig.ident));
    for used in parameter.into_iter().chain([returned]) {
        refuse_clash(used, &task)?;
    }
    let description = description(&function.attrs);
    let doc = format!("The task `{short_name}`, for those who send it: [`{run}`] runs it.");
    let private = quote!(::hostler_guest::__private);
    let (args, args_schema, call) = match parameter {
        Some(args) => (
            quote!(#args),
            quote_spanned!(args.span()=> #private::args_schema::<#args>),
            quote_spanned!(args.span()=> |args| #private::run::<#args, _>(args, #run)),
        ),
        None => (
            quote!(()),
            quote!(#private::no_args_schema),
            quote_spanned!(returned.span()=> |args| #private::run_without_args(args, #run)),
        ),
    };
    let output = quote_spanned!(returned.span()=> <#returned as #private::Returned>::Output);
    let result_schema = quote_spanned!(returned.span()=> #private::result_schema::<#output>);

    Ok(quote! {
        #function

        #[doc = #doc]
        #[allow(dead_code, reason = "a task may have no sender in its own crate")]
        #[derive(Clone, Copy, Debug)]
        #vis struct #task;

        #[automatically_derived]
        impl #private::Define for #task {
            type Args = #args;
            type Output = #output;
            const ENTRY: #private::Entry = #private::Entry {
                name: #short_name,
                description: #description,
                policy: #policy,
                args_schema: #args_schema,
                result_schema: #result_schema,
                run: #call,
            };
        }
    })
}

/// The name of the unit type that stands for this function's task.
pub(crate) fn type_name(function: &Ident) -> Ident {
    format_ident!("{}", name::camel_case(&function.unraw().to_string()), span = function.span())
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::*;

    #[test]
    fn a_type_from_elsewhere_does_not_clash() {
        let function = quote!(
            fn thumbnail() -> Result<other::Thumbnail, Failure> {}
        );
        assert!(expand(TokenStream::new(), function).is_ok());
    }

    #[test]
    fn only_plain_functions_are_tasks() {
        for (item, expected) in [
            (
                quote!(
                    struct NoFunction;
                ),
                "belongs on a function",
            ),
            (
                quote!(
                    async fn f() -> R {}
                ),
                "not `async`",
            ),
            (
                quote!(
                    fn f<T>(t: T) -> R {}
                ),
                "no generics",
            ),
            (
                quote!(
                    fn f(t: impl Copy) -> R {}
                ),
                "no generics",
            ),
            (
                quote!(
                    fn f(self) -> R {}
                ),
                "no `self`",
            ),
            (
                quote!(
                    fn f(a: A, b: B) -> R {}
                ),
                "one value at most",
            ),
            (
                quote!(
                    fn f(a: &A) -> R {}
                ),
                "owns its argument",
            ),
            (
                quote!(
                    fn f(a: A) {}
                ),
                "returns `Result<T, Failure>`",
            ),
            (
                quote!(
                    fn thumbnail() -> Result<Vec<Thumbnail>, Failure> {}
                ),
                "makes a type `Thumbnail`",
            ),
            (
                quote!(
                    fn Loud() -> R {}
                ),
                "`Loud` cannot be a task's name",
            ),
        ] {
            let error = expand(TokenStream::new(), item.clone()).expect_err(expected).to_string();
            assert!(error.contains(expected), "{item}: {error}");
        }
    }
}
