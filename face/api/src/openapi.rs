//! The OpenAPI document, made from the list of routes.

use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::Fault;
use crate::routes::{self, Access, Face, Method, Route};

/// The interface as an OpenAPI 3.1 document.
pub fn openapi() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|s| s.definitions_path = "/components/schemas".into());
    let mut generator = settings.into_generator();
    let fault = generator.subschema_for::<Fault>();
    let mut paths: Map<String, Value> = Map::new();
    for route in routes::all().filter(|route| route.face == Face::Api) {
        let entry = paths.entry(route.path.to_owned()).or_insert_with(|| json!({}));
        entry[route.method.as_str().to_lowercase()] = operation(route, &mut generator, &fault);
    }
    let schemas: Map<String, Value> = generator.take_definitions(true);
    json!({
        "openapi": "3.1.0",
        "info": {"title": "Trimtab", "version": env!("CARGO_PKG_VERSION"),
            "description": "Ships services and keeps them steady. Failures answer a Fault."},
        "paths": paths,
        "components": {"schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
    })
}

fn operation(route: &Route, generator: &mut SchemaGenerator, fault: &Schema) -> Value {
    let mut parameters: Vec<Value> = path_parameters(route.path)
        .map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}))
        .collect();
    let mut operation = json!({
        "summary": route.doc,
        "responses": {"default": {"description": "It failed.", "content": {"application/json": {"schema": fault}}}},
    });
    let given = route.gives.map(|make| make(generator));
    operation["responses"]["200"] = match given {
        Some(schema) => json!({"description": "Done.", "content": {"application/json": {"schema": schema}}}),
        None => json!({"description": "Done."}),
    };
    match (route.method, route.takes) {
        (Method::Get | Method::Delete, Some(make)) => {
            parameters.extend(query_parameters(&make(generator), generator))
        }
        (Method::Post, Some(make)) => {
            let schema = make(generator);
            operation["requestBody"] = json!({"content": {"application/json": {"schema": schema}}});
        }
        (_, None) => {}
    }
    operation["parameters"] = Value::Array(parameters);
    match route.access {
        Access::Public(reason) => {
            operation["security"] = json!([]);
            operation["description"] = json!(format!("Public: {reason}."));
        }
        Access::Role(role) => {
            operation["security"] = json!([{"token": []}]);
            operation["description"] = json!(format!("Needs the role {role} or a higher one."));
        }
    }
    operation
}

fn path_parameters(path: &str) -> impl Iterator<Item = &str> {
    path.split('{').skip(1).filter_map(|rest| rest.split('}').next())
}

/// A query's fields become parameters, one each.
fn query_parameters(schema: &Schema, generator: &SchemaGenerator) -> Vec<Value> {
    let Some(name) = schema
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|r| r.rsplit('/').next())
    else {
        return Vec::new();
    };
    let fields = generator
        .definitions()
        .get(name)
        .and_then(|s| s.get("properties"))
        .and_then(Value::as_object);
    fields
        .into_iter()
        .flatten()
        .map(|(name, schema)| json!({"name": name, "in": "query", "required": false, "schema": schema}))
        .collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn every_api_route_is_described_and_every_reference_resolves() {
        let document = openapi();
        for route in routes::all().filter(|r| r.face == Face::Api) {
            let operation = &document["paths"][route.path][route.method.as_str().to_lowercase()];
            assert_eq!(operation["summary"], route.doc, "{}", route.path);
        }
        let text = document.to_string();
        for piece in text.split("\"$ref\":\"#/components/schemas/").skip(1) {
            let name = piece.split('"').next().unwrap();
            assert!(
                document["components"]["schemas"].get(name).is_some(),
                "{name} is missing"
            );
        }
    }

    #[test]
    fn queries_become_parameters() {
        let document = openapi();
        let names: Vec<_> = document["paths"]["/api/v1/logs"]["get"]["parameters"]
            .as_array()
            .unwrap()
            .iter()
            .map(|p| p["name"].as_str().unwrap())
            .collect();
        assert!(names.contains(&"text") && names.contains(&"limit"), "{names:?}");
    }
}
