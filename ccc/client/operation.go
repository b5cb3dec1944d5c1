package client

// Operation is one of [Operations], for programs that offer all of them, as the command
// ccc does.
type Operation struct {
	ID, Method, Path     string
	Tag                  string
	Summary, Description string
	// Of and Verb say who may run it, as in x-access of the document. Verb is what an API
	// token has to have.
	Of, Verb string
	// Once: it takes an Idempotency-Key, which makes it safe to repeat.
	Once bool
	// Parameters are in path, query and headers, but for those that the client sets.
	Parameters []Parameter
	// ContentType is that of the body; empty: it takes none. Body are the fields of one in
	// JSON.
	ContentType string
	Body        []Field
	// Status is that of success, Answer the type of the answer; empty: there is none.
	Status int
	Answer string
	// List: the answer has items. Columns are the fields of the answer, or of an item.
	List    bool
	Columns []Field
}

// Parameter is a value in path, query or header.
type Parameter struct {
	In string
	Field
}

// Field is a value in JSON, or a parameter.
type Field struct {
	Name string
	// Type is string, integer, number, boolean, time or object.
	Type     string
	Repeated bool
	Required bool
	// Enum are all values that it can have; none: others, too.
	Enum    []string
	Doc     string
	Default string
}
