//! JSON Patch, as far as the controllers use it.

use serde_json::Value;

/// Applies all operations; `None` if one of them fails, or cannot be understood.
pub(in super::super) fn apply(object: &mut Value, patch: &Value) -> Option<()> {
    patch.as_array()?.iter().try_for_each(|operation| step(object, operation))
}

fn step(object: &mut Value, operation: &Value) -> Option<()> {
    let (parent, last) = operation["path"].as_str()?.rsplit_once('/')?;
    let key = last.replace("~1", "/").replace("~0", "~");
    let (word, value) = (operation["op"].as_str()?, &operation["value"]);
    match object.pointer_mut(parent)? {
        Value::Array(list) => in_list(list, word, &key, value),
        Value::Object(parent) => match word {
            // What is missing equals null.
            "test" => (parent.get(&key).unwrap_or(&Value::Null) == value).then_some(()),
            "add" => {
                parent.insert(key, value.clone());
                Some(())
            }
            "replace" => parent.get_mut(&key).map(|old| *old = value.clone()),
            "remove" => parent.remove(&key).map(drop),
            _ => None,
        },
        _ => None,
    }
}

fn in_list(list: &mut Vec<Value>, word: &str, place: &str, value: &Value) -> Option<()> {
    if (word, place) == ("add", "-") {
        list.push(value.clone());
        return Some(());
    }
    let place: usize = place.parse().ok()?;
    match word {
        "test" => (list.get(place)? == value).then_some(()),
        "add" if place <= list.len() => {
            list.insert(place, value.clone());
            Some(())
        }
        "replace" => list.get_mut(place).map(|old| *old = value.clone()),
        "remove" if place < list.len() => {
            list.remove(place);
            Some(())
        }
        _ => None,
    }
}
