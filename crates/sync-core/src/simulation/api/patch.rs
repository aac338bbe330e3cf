//! JSON Patch, as far as the controllers use it.

use serde_json::{Map, Value};

/// Applies all operations; `None` if one of them fails, or cannot be understood.
pub(super) fn apply(object: &mut Value, patch: &Value) -> Option<()> {
    patch.as_array()?.iter().try_for_each(|operation| step(object, operation))
}

fn step(object: &mut Value, operation: &Value) -> Option<()> {
    let (parent, last) = operation["path"].as_str()?.rsplit_once('/')?;
    let key = last.replace("~1", "/").replace("~0", "~");
    let parent: &mut Map<String, Value> = object.pointer_mut(parent)?.as_object_mut()?;
    let value = &operation["value"];
    match operation["op"].as_str()? {
        // What is missing equals null.
        "test" => (parent.get(&key).unwrap_or(&Value::Null) == value).then_some(()),
        "add" => {
            parent.insert(key, value.clone());
            Some(())
        }
        "replace" => parent.get_mut(&key).map(|old| *old = value.clone()),
        "remove" => parent.remove(&key).map(drop),
        _ => None,
    }
}
