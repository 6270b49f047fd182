//! The parsed struct, with its fields and attributes. This module checks only the form of the struct, for
//! example that the struct has no generic parameters.

use syn::ext::IdentExt;
use syn::{
    Attribute, Data, DeriveInput, Fields, GenericArgument, GenericParam, Generics, Ident, Lifetime, LitStr, Path,
    PathArguments, Type, TypeReference, Visibility, parse_quote,
};

use crate::attr::{ContainerAttrs, FieldAttrs};
use crate::errors::Errors;
use crate::serde;

/// A struct with `#[derive(Session)]`.
pub struct Input {
    pub ident: Ident,
    pub vis: Visibility,
    /// Generics are a mistake, but the code that is generated for a struct with a mistake needs them.
    pub generics: Generics,
    /// The path of `session_rocket`.
    pub krate: Path,
    /// The name of the generated struct that has the accessors.
    pub fields_ident: Ident,
    pub config: String,
    /// The value of `#[session(scope = "…")]`.
    pub scope: Option<LitStr>,
    pub fields: Vec<Field>,
}

/// One field and its attributes.
pub struct Field {
    pub ident: Ident,
    pub vis: Visibility,
    /// The `doc` attributes, which the getter also gets.
    pub docs: Vec<Attribute>,
    /// The `deprecated` attribute, which all accessors also get.
    pub deprecated: Option<Attribute>,
    /// The type as declared.
    pub ty: Type,
    /// The type of a stored value: `T` for a field of type `Option<T>`, and otherwise the declared type. A skipped field
    /// always has its declared type here.
    pub value: Type,
    pub optional: bool,
    pub attrs: FieldAttrs,
}

impl Input {
    pub fn from_syn(input: DeriveInput, errors: &mut Errors) -> Self {
        let attrs = ContainerAttrs::from_syn(&input.attrs, errors);
        check_generics(&input.generics, errors);
        let fields = named_fields(input.data, &input.ident, errors);
        let fields_ident = attrs.fields.unwrap_or_else(|| quote::format_ident!("{}Fields", input.ident));
        Self {
            vis: input.vis,
            generics: input.generics,
            krate: attrs.krate.unwrap_or_else(|| parse_quote!(::session_rocket)),
            fields_ident,
            config: attrs.config.map_or_else(|| "session".to_owned(), |config| config.value()),
            scope: attrs.scope,
            fields: fields.into_iter().filter_map(|field| Field::from_syn(field, errors)).collect(),
            ident: input.ident,
        }
    }

    /// Returns the fields that are stored, in the order of their declaration.
    pub fn stored(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(|field| field.attrs.skip.is_none())
    }

    /// Returns the lifetimes of the struct. A struct without a mistake has none.
    pub fn lifetimes(&self) -> Vec<&Lifetime> {
        self.generics.lifetimes().map(|param| &param.lifetime).collect()
    }
}

impl Field {
    /// Returns `None` for a field without a name. The caller passes only named fields.
    fn from_syn(field: syn::Field, errors: &mut Errors) -> Option<Self> {
        let attrs = FieldAttrs::from_syn(&field.attrs, errors);
        serde::check_attributes(&field.attrs, errors);
        let inner = option_of(&field.ty).filter(|_| attrs.skip.is_none()).cloned();
        Some(Self {
            ident: field.ident?,
            vis: field.vis,
            docs: field.attrs.iter().filter(|attr| attr.path().is_ident("doc")).cloned().collect(),
            deprecated: field.attrs.into_iter().find(|attr| attr.path().is_ident("deprecated")),
            optional: inner.is_some(),
            value: inner.unwrap_or_else(|| field.ty.clone()),
            ty: field.ty,
            attrs,
        })
    }

    /// Returns the name of the field without `r#`, such as `type` for `r#type`.
    pub fn name(&self) -> String {
        self.ident.unraw().to_string()
    }

    pub fn stored_name(&self) -> String {
        self.attrs.rename.as_ref().map_or_else(|| self.name(), syn::LitStr::value)
    }

    /// Returns the name of the accessor with this prefix. The getter's name is a raw identifier if the field's name is.
    pub fn accessor(&self, prefix: &str) -> Ident {
        if prefix.is_empty() { self.ident.clone() } else { quote::format_ident!("{prefix}{}", self.ident) }
    }

    /// Whether the stored type has the name of a number type, `bool` or `char`.
    pub fn is_primitive(&self) -> bool {
        let Some(name) = plain_path(&self.value).and_then(Path::get_ident).map(Ident::to_string) else { return false };
        let (kind, size) = name.split_at(1);
        match kind {
            "u" | "i" => ["8", "16", "32", "64", "128", "size"].contains(&size),
            "f" => ["32", "64"].contains(&size),
            _ => ["bool", "char"].contains(&name.as_str()),
        }
    }

    pub fn is_string(&self) -> bool {
        let paths = ["String", "std::string::String", "alloc::string::String"];
        plain_path(&self.value).is_some_and(|path| {
            paths.contains(&path_string(path).as_str())
                && path.segments.iter().all(|segment| segment.arguments.is_none())
        })
    }
}

/// Finds a reference in a type, even inside another type, as in `Option<&'static str>`.
pub fn reference_in(ty: &Type) -> Option<&TypeReference> {
    match ty {
        Type::Reference(reference) => Some(reference),
        Type::Group(group) => reference_in(&group.elem),
        Type::Paren(paren) => reference_in(&paren.elem),
        Type::Array(array) => reference_in(&array.elem),
        Type::Tuple(tuple) => tuple.elems.iter().find_map(reference_in),
        Type::Path(path) => path.path.segments.iter().find_map(|segment| {
            let PathArguments::AngleBracketed(arguments) = &segment.arguments else { return None };
            arguments.args.iter().find_map(|argument| match argument {
                GenericArgument::Type(ty) => reference_in(ty),
                _ => None,
            })
        }),
        _ => None,
    }
}

/// Returns the `T` of an `Option<T>`. Recognizes `Option` by its name or its paths in std, but not through an alias.
pub fn option_of(ty: &Type) -> Option<&Type> {
    let path = plain_path(ty)?;
    if !["Option", "std::option::Option", "core::option::Option"].contains(&path_string(path).as_str()) {
        return None;
    }
    let PathArguments::AngleBracketed(arguments) = &path.segments.last()?.arguments else { return None };
    match arguments.args.first()? {
        GenericArgument::Type(inner) if arguments.args.len() == 1 => Some(inner),
        _ => None,
    }
}

/// Returns the path of a type. Ignores parentheses, and the invisible group that `macro_rules` puts around the type.
fn plain_path(ty: &Type) -> Option<&Path> {
    match ty {
        Type::Group(group) => plain_path(&group.elem),
        Type::Paren(paren) => plain_path(&paren.elem),
        Type::Path(path) if path.qself.is_none() => Some(&path.path),
        _ => None,
    }
}

/// Returns a path as a string, without generic arguments or leading colons.
fn path_string(path: &Path) -> String {
    path.segments.iter().map(|segment| segment.ident.to_string()).collect::<Vec<_>>().join("::")
}

/// Reports generic parameters, because a session type has one static schema, and its values outlive the request.
fn check_generics(generics: &Generics, errors: &mut Errors) {
    for param in &generics.params {
        match param {
            GenericParam::Lifetime(lifetime) => errors.at(
                &lifetime.lifetime,
                format!(
                    "a session outlives the request, so it cannot borrow: remove `{0}` and own the data, as in `String` \
                     instead of `&{0} str`",
                    lifetime.lifetime
                ),
            ),
            GenericParam::Type(param) => errors.at(&param.ident, no_parameter(&param.ident)),
            GenericParam::Const(param) => errors.at(&param.ident, no_parameter(&param.ident)),
        }
    }
}

fn no_parameter(ident: &Ident) -> String {
    format!("a session type cannot be generic: remove the parameter `{ident}` and write out the types of the fields")
}

fn named_fields(data: Data, name: &Ident, errors: &mut Errors) -> Vec<syn::Field> {
    match data {
        Data::Struct(data) => match data.fields {
            Fields::Named(fields) => return fields.named.into_iter().collect(),
            Fields::Unit => {}
            Fields::Unnamed(fields) => errors.at(
                fields,
                format!(
                    "accessors are named after fields, so each field needs a name: write \
                     `struct {name} {{ name: Type }}`"
                ),
            ),
        },
        Data::Enum(data) => {
            let message = format!(
                "`Session` can be derived only for a struct, not for an enum: declare a struct with a field of type \
                 `{name}`"
            );
            errors.at(data.enum_token, message);
        }
        Data::Union(data) => {
            errors.at(data.union_token, "`Session` can be derived only for a struct, not for a union: write `struct`");
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests;
