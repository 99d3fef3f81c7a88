//! What a function must look like to be a task, and what is read off it.

use proc_macro2::{Ident, TokenStream, TokenTree};
use quote::ToTokens;
use syn::ext::IdentExt;
use syn::{Attribute, Error, Expr, ExprLit, FnArg, Lit, Meta, Result, ReturnType, Signature, Type};

use crate::name;

pub(crate) fn short_name(function: &Ident) -> Result<String> {
    let text = function.unraw().to_string();
    if name::is_name(&text) {
        return Ok(text);
    }
    Err(Error::new_spanned(
        function,
        format!("`{text}` cannot be a task's name: allowed is {}", name::NAME_RULE),
    ))
}

/// The type of the one parameter, if there is one.
pub(crate) fn parameter(sig: &Signature) -> Result<Option<&Type>> {
    if let Some(found) = &sig.asyncness {
        return Err(Error::new_spanned(
            found,
            "a task is not `async`: it has its sandbox to itself and may block",
        ));
    }
    if !sig.generics.params.is_empty() || sig.generics.where_clause.is_some() {
        return Err(Error::new_spanned(
            &sig.generics,
            "a task has no generics: its types become JSON Schemas",
        ));
    }
    let mut inputs = sig.inputs.iter();
    let argument = match inputs.next() {
        None => return Ok(None),
        Some(FnArg::Receiver(receiver)) => {
            return Err(Error::new_spanned(
                receiver,
                "a task has no `self`: each attempt starts in a fresh sandbox",
            ));
        }
        Some(FnArg::Typed(argument)) => &*argument.ty,
    };
    if let Some(second) = inputs.next() {
        return Err(Error::new_spanned(
            second,
            "a task takes one value at most: put the others into its type",
        ));
    }
    match argument {
        Type::Reference(_) => {
            Err(Error::new_spanned(argument, "a task owns its argument: take `T` and not `&T`"))
        }
        Type::ImplTrait(_) => {
            Err(Error::new_spanned(argument, "a task has no generics: its types become JSON Schemas"))
        }
        _ => Ok(Some(argument)),
    }
}

pub(crate) fn returned(sig: &Signature) -> Result<&Type> {
    match &sig.output {
        ReturnType::Type(_, returned) => Ok(returned),
        ReturnType::Default => Err(Error::new_spanned(
            sig,
            "a task returns `Result<T, Failure>`; `Result<(), Failure>` if there is nothing to say",
        )),
    }
}

/// A result type is easily named like its task (`thumbnail` returning `Thumbnail`), and what rustc says about two types of
/// one name is no help. A type from elsewhere, `other::Thumbnail`, is another matter.
pub(crate) fn refuse_clash(used: &Type, task: &Ident) -> Result<()> {
    fn find(tokens: TokenStream, task: &Ident) -> Option<Ident> {
        let mut in_path = false;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) if ident == *task && !in_path => return Some(ident),
                TokenTree::Group(group) => {
                    if let Some(found) = find(group.stream(), task) {
                        return Some(found);
                    }
                    in_path = false;
                }
                TokenTree::Punct(punct) => in_path = punct.as_char() == ':',
                _ => in_path = false,
            }
        }
        None
    }
    match find(used.to_token_stream(), task) {
        Some(found) => {
            let message = format!(
                "`#[task]` makes a type `{task}` that stands for the task: call this one something else"
            );
            Err(Error::new_spanned(found, message))
        }
        None => Ok(()),
    }
}

/// The doc comment, as one text.
pub(crate) fn description(attributes: &[Attribute]) -> String {
    let mut lines = Vec::new();
    for attribute in attributes {
        if let Meta::NameValue(meta) = &attribute.meta
            && meta.path.is_ident("doc")
            && let Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) = &meta.value
        {
            lines.extend(
                text.value()
                    .split('\n')
                    .map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end().to_owned()),
            );
        }
    }
    lines.join("\n").trim().to_owned()
}

#[cfg(test)]
mod tests {
    use quote::quote;
    use syn::ItemFn;

    use super::*;

    #[test]
    fn the_description_is_the_doc_comment() {
        let function: ItemFn = syn::parse2(quote! {
            /// Counts words.
            ///
            ///   Twice, indented.
            #[inline]
            fn f() {}
        })
        .expect("this is a function");
        assert_eq!(description(&function.attrs), "Counts words.\n\n  Twice, indented.");
        assert_eq!(description(&[]), "");
    }
}
