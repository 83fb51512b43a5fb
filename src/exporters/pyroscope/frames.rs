//! Frames of which nothing is known. A server drops every sample that has one, or that has no frame at all, and says
//! nothing: its value would be missing from every total. Here they get a name.

use std::sync::Arc;

use crate::profile::{Dictionary, Function, FunctionId, Line, Location, LocationId, Profiles, StackId};

/// What a frame is called of which nothing is known.
const UNKNOWN: &str = "[unknown]";

/// Names them. Copies only if there is something to name.
pub(super) fn fill(profiles: &mut Profiles) {
    let bare = bare_locations(profiles.dictionary());
    let is_bare = |location: &LocationId| bare.get(location.index()) != Some(&false);
    let is_empty = |dictionary: &Dictionary, stack: StackId| dictionary.stacks[stack].is_empty();
    let dictionary = profiles.dictionary();
    let nameless = dictionary.lines.items().iter().any(|line| !line.function.is_set())
        || dictionary.stacks.items().iter().any(is_bare)
        || profiles.iter().any(|at| {
            at.profile
                .samples
                .stacks
                .iter()
                .any(|stack| is_empty(dictionary, *stack))
        });
    if !nameless {
        return;
    }
    let (dictionary, resources) = profiles.edit();
    let function = unknown_function(dictionary);
    for line in dictionary.lines.items_mut() {
        if !line.function.is_set() {
            line.function = function;
        }
    }
    let line = Line {
        function,
        ..Line::default()
    };
    let location = dictionary.push_location(Location::default(), &[line]);
    for frame in dictionary.stacks.items_mut() {
        if is_bare(frame) {
            *frame = location;
        }
    }
    let stack = dictionary.stacks.push(&[location]);
    let scopes = resources.iter_mut().flat_map(|resource| &mut resource.scopes);
    for profile in scopes.flat_map(|scope| &mut scope.profiles) {
        if profile.samples.stacks.iter().any(|stack| is_empty(dictionary, *stack)) {
            for of in &mut Arc::make_mut(&mut profile.samples).stacks {
                if is_empty(dictionary, *of) {
                    *of = stack;
                }
            }
        }
    }
}

/// By location, whether it has neither an address nor a line.
fn bare_locations(dictionary: &Dictionary) -> Vec<bool> {
    let is_bare = |id: LocationId| dictionary.locations[id].address == 0 && dictionary.lines[id].is_empty();
    dictionary.locations.ids().map(is_bare).collect()
}

fn unknown_function(dictionary: &mut Dictionary) -> FunctionId {
    let name = dictionary.strings.push(UNKNOWN);
    dictionary.functions.push(Function {
        name,
        ..Function::default()
    })
}
