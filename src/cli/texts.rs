//! One text in one role, as a profile around it: what the gate would make of it is what the gate makes of that profile.

use std::sync::Arc;

use crate::profile::{
    Attribute, Dictionary, Function, KeyValue, Line, LinkId, Location, Mapping, Observations, Profile, Profiles,
    ResourceProfiles, Role, Samples, ScopeProfiles, StringId, Value, ValueType,
};

/// Every role that a text may be tried in.
const ROLES: [Role; 15] = [
    Role::FunctionName,
    Role::SystemName,
    Role::SourceFile,
    Role::MappingFile,
    Role::LabelKey,
    Role::LabelValue,
    Role::LabelUnit,
    Role::ResourceKey,
    Role::ResourceValue,
    Role::Scope,
    Role::Comment,
    Role::DocUrl,
    Role::FramePattern,
    Role::TypeName,
    Role::SchemaUrl,
];

/// Shorter words for the roles that people try most.
const SHORT: [(&str, Role); 5] = [
    ("function", Role::FunctionName),
    ("file", Role::SourceFile),
    ("mapping", Role::MappingFile),
    ("label", Role::LabelValue),
    ("resource", Role::ResourceValue),
];

/// The role of a name, `function` or as reports have it, `function_name`.
pub fn role(name: &str) -> Result<Role, String> {
    let short = SHORT
        .into_iter()
        .find(|(short, _)| *short == name)
        .map(|(_, role)| role);
    let long = || ROLES.into_iter().find(|role| role.label() == name);
    short.or_else(long).ok_or_else(|| {
        let names = SHORT
            .iter()
            .map(|(short, _)| *short)
            .chain(ROLES.iter().map(|role| role.label()));
        format!("not a role; there are {}", names.collect::<Vec<_>>().join(", "))
    })
}

/// A profile that holds the text in that role, once. `key` is that of a label's or resource's value.
pub fn profile_of(role: Role, key: Option<&str>, text: &str) -> Profiles {
    let mut d = Dictionary::default();
    let text = d.strings.push(text);
    let plain = d.strings.push("flamegate.text");
    let key = match key {
        Some(key) => d.strings.push(key),
        None => plain,
    };
    let pair = |wanted: Role, other: StringId| if role == wanted { text } else { other };
    let only = |wanted: Role| if role == wanted { text } else { StringId::UNSET };
    let function = d.functions.push(Function {
        name: only(Role::FunctionName),
        system_name: only(Role::SystemName),
        filename: only(Role::SourceFile),
        ..Function::default()
    });
    let mapping = d.mappings.push(Mapping {
        filename: only(Role::MappingFile),
        ..Mapping::default()
    });
    let line = Line {
        function,
        ..Line::default()
    };
    let location = Location {
        mapping,
        ..Location::default()
    };
    let location = d.push_location(location, &[line]);
    let stack = d.stacks.push(&[location]);
    let is_label = matches!(role, Role::LabelKey | Role::LabelValue | Role::LabelUnit);
    let labels = match is_label {
        true => {
            let attribute = d.attributes.push(Attribute {
                key: pair(Role::LabelKey, key),
                value: if role == Role::LabelUnit {
                    Value::Int(1)
                } else {
                    Value::String(pair(Role::LabelValue, plain))
                },
                unit: only(Role::LabelUnit),
            });
            d.attribute_sets.push(&[attribute])
        }
        false => Default::default(),
    };
    let is_resource = matches!(role, Role::ResourceKey | Role::ResourceValue);
    let attributes = is_resource.then(|| KeyValue {
        key: pair(Role::ResourceKey, key),
        value: Value::String(pair(Role::ResourceValue, plain)),
    });
    let (samples, count) = (d.strings.push("samples"), d.strings.push("count"));
    let profile = Profile {
        sample_types: vec![ValueType {
            kind: pair(Role::TypeName, samples),
            unit: count,
        }],
        samples: Arc::new(Samples {
            stacks: vec![stack],
            attributes: vec![labels],
            links: vec![LinkId::UNSET],
            observations: Observations::Totals(vec![1]),
        }),
        comments: (role == Role::Comment).then_some(text).into_iter().collect(),
        drop_frames: only(Role::FramePattern),
        doc_url: only(Role::DocUrl),
        ..Profile::default()
    };
    let resource = ResourceProfiles {
        attributes: attributes.into_iter().collect(),
        scopes: vec![ScopeProfiles {
            name: only(Role::Scope),
            schema_url: only(Role::SchemaUrl),
            profiles: vec![profile],
            ..ScopeProfiles::default()
        }],
        ..ResourceProfiles::default()
    };
    Profiles::new(d, vec![resource])
}

/// What stands in that role now; none if nothing does.
pub fn text_in(profiles: &Profiles, role: Role) -> Option<String> {
    let mut found = None;
    profiles.strings_by_role(|of, id| {
        let text = profiles.dictionary().str(id);
        // the unit of the one sample type is the other type name
        if of == role && found.is_none() && !text.is_empty() {
            found = Some(text.to_owned());
        }
    });
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_stands_in_its_role_and_in_no_other() {
        for role in ROLES {
            let mut profiles = profile_of(role, None, "a text of ours");
            profiles.compact();
            assert_eq!(text_in(&profiles, role).as_deref(), Some("a text of ours"), "{role:?}");
            let mut others = Vec::new();
            profiles.strings_by_role(|of, id| {
                if of != role && profiles.dictionary().str(id) == "a text of ours" {
                    others.push(of);
                }
            });
            assert_eq!(others, []);
            assert_eq!(super::role(role.label()), Ok(role));
        }
        assert!(super::role("nonsense").unwrap_err().contains("function_name"));
    }
}
