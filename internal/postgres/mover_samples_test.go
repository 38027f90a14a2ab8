package postgres

import (
	"fmt"
	"strings"

	"strangler/internal/postgres/quote"
)

// sample is a type with values of it that are easy to get wrong, as SQL.
type sample struct {
	name   string // of its column
	typ    string // as CREATE TABLE takes it
	values []string
}

// texts makes literals of a type.
func texts(typ string, values ...string) sample {
	s := sample{name: strings.NewReplacer(`"`, "", "(", "_", ")", "", ",", "_", " ", "_", "-", "m", ".", "_", "[]", "_array").Replace(typ), typ: typ}
	for _, v := range values {
		s.values = append(s.values, quote.Literal(v)+"::"+typ)
	}
	return s
}

// controls is every control character that a text may have.
var controls = func() string {
	var b strings.Builder
	for c := range rune(32) {
		if c > 0 {
			b.WriteRune(c)
		}
	}
	return b.String() + "\x7f\u0080\u009f\u2028"
}()

var allBytes = func() string {
	var b strings.Builder
	for c := range 256 {
		fmt.Fprintf(&b, "%02x", c)
	}
	return `\x` + b.String()
}()

// strange are texts that some format takes for something else.
var strange = []string{"", " ", `\N`, `\.`, "NULL", "null", `\`, `\\`, `a\tb`, "a\tb\nc\rd\be\ff\vg", controls, `"q" 'q' $q$ {a,b} (a,b) [a,b) ,;|`, "𝄞 ä é ﷽ 😀 \ufeff", "trailing  ", "é|e\u0301"}

// builtin has a sample of every type of the server that tables move with. A type
// that is neither here nor among the refused ones fails TestEveryTypeIsAccountedFor.
var builtin = []sample{
	texts("bool", "t", "f"),
	texts("bytea", `\x`, allBytes, `\x00`, `\x5c0a0927222c`),
	texts(`"char"`, "a", "", " ", `\`, "\n", ",", `"`),
	texts("name", append([]string{strings.Repeat("n", 63)}, strange...)...),
	texts("int2", "-32768", "0", "32767"),
	texts("int4", "-2147483648", "0", "2147483647"),
	texts("int8", "-9223372036854775808", "0", "9223372036854775807"),
	texts("int2vector", "1 -2 3", ""),
	texts("text", strange...),
	texts("json", `{"a": 1,  "a":2}`, " null ", "\"\\u0001\\ud834\\udd1e\"", "[1.0, 1.00,\n\t1e5]", `"\u0000"`, `{}`),
	texts("jsonb", "null", `{"b": 1.0, "a": [null, 1.00, "\\"]}`, `"\u0001"`, `-0.0`, `""`, `{}`, `1e-300`),
	texts("jsonpath", `$."a b"[*] ? (@.c > 1.10 && @ like_regex "^\\d" flag "i")`, "strict $", `lax $.**{2 to last}`),
	texts("xml", "", "<a>&amp;</a>", "<?xml version=\"1.0\"?><a b='\"'>\n\t</a>", "no document <b/>"),
	texts("point", "(1.5,-2)", "(NaN,Infinity)", "(-0,4.9e-324)"),
	texts("lseg", "[(1,2),(3,4)]", "[(-Infinity,-0),(NaN,0.1)]"),
	texts("path", "[(1,2),(3,4)]", "((1,2),(3,-0))"),
	texts("box", "(3,4),(1,2)", "(Infinity,0.1),(-0,-Infinity)"),
	texts("polygon", "((1,2),(3,4),(5,0.30000000000000004))", "((-0,0))"),
	texts("line", "{1,2,3}", "{0.1,-0.2,1e-300}"),
	texts("circle", "<(1,2),3>", "<(-0,NaN),Infinity>"),
	texts("float4", "NaN", "Infinity", "-Infinity", "-0", "0", "1.17549435e-38", "1e-45", "3.4028235e38", "0.1"),
	texts("float8", "NaN", "Infinity", "-Infinity", "-0", "0", "4.9406564584124654e-324", "2.2250738585072014e-308", "1.7976931348623157e308", "0.30000000000000004"),
	texts("money", "-92233720368547758.08", "92233720368547758.07", "0", "0.01"),
	texts("macaddr", "08:00:2b:01:02:03", "ff:ff:ff:ff:ff:ff"),
	texts("macaddr8", "08:00:2b:01:02:03:04:05", "08:00:2b:01:02:03"),
	texts("inet", "10.0.0.1", "10.0.0.1/8", "10.0.0.1/24", "::1", "::ffff:1.2.3.4/96", "0.0.0.0/0", "10.0.0.10"),
	texts("cidr", "10.0.0.0/8", "10.0.0.0/24", "::/0", "2001:db8::/32"),
	texts("bpchar", append([]string{"a", "a  ", "a\x01"}, strange...)...),
	texts("varchar", strange...),
	texts("date", "infinity", "-infinity", "4713-01-01 BC", "0001-12-31 BC", "5874897-12-31", "2000-02-29"),
	texts("time", "00:00:00", "24:00:00", "23:59:59.999999"),
	texts("timetz", "12:00:00+05:30", "00:00:00-15:59:59", "24:00:00+15:59", "12:00:00-00:00:01", "12:00:00+00"),
	texts("timestamp", "infinity", "-infinity", "4713-01-01 00:00:00 BC", "0044-03-15 12:00:00.000001 BC", "294276-12-31 23:59:59.999999"),
	texts("timestamptz", "infinity", "-infinity", "4713-01-02 00:00:00+00 BC", "0044-03-15 12:00:00.000001+00 BC", "294276-12-31 23:59:59.999999+00", "2024-03-31 02:30:00.5+05:45"),
	texts("interval", "0", "-1 year 2 days -03:04:05.000006", "1 mon -1 day", "178000000 years", "-178000000 years", "1 day", "24:00:00", "-00:00:00.000001", "2562047788:00:54.775807"),
	texts("bit", "0", "1"),
	texts("varbit", "", "101", strings.Repeat("10", 77)),
	texts("numeric", "NaN", "Infinity", "-Infinity", "0", "0.00", "-0", "1.0", "1.00", "1e100", "-1e-100", "1e131071", "1e-16383", "12345678901234567890.12345678901234567890"),
	texts("refcursor", "", `a "cursor"`),
	texts("uuid", "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
	texts("pg_lsn", "0/0", "FFFFFFFF/FFFFFFFF", "16/B374D848"),
	texts("tsvector", "", `'a':1A,2B,16383 'b c' 'it''s' '\\':3`, "x"),
	texts("tsquery", "", `'a' & !('b':*AB | 'c d') <3> 'it''s'`, `'\\'`),
	texts("txid_snapshot", "10:20:10,14,15", "1:1:"),
	texts("pg_snapshot", "10:20:10,14,15", "1:1:"),
	texts("int4range", "empty", "(,)", "[1,5)", "[-2147483648,2147483647)"),
	texts("int8range", "empty", "(,)", "[1,5)", "[-9223372036854775808,)"),
	texts("numrange", "empty", "(,)", "[1.0,1.00]", "(1.10,NaN]", "[-Infinity,Infinity]"),
	texts("tsrange", "empty", "[-infinity,infinity]", `(,"0044-03-15 12:00:00 BC"]`, "[2000-01-01,2000-01-02)"),
	texts("tstzrange", "empty", "[-infinity,infinity]", `["2000-01-01 00:00:00+05:45",)`),
	texts("daterange", "empty", "(,)", "[-infinity,infinity]", `["0044-03-15 BC",2000-01-01)`),
	texts("int4multirange", "{}", "{[1,3),[5,8),[10,)}", "{(,)}"),
	texts("int8multirange", "{}", "{[1,3),[5,8)}"),
	texts("nummultirange", "{}", "{[1.0,1.00],(2.5,3)}"),
	texts("tsmultirange", "{}", "{[-infinity,2000-01-01),[2000-01-02,infinity]}"),
	texts("tstzmultirange", "{}", `{["2000-01-01 00:00:00+05:45",)}`),
	texts("datemultirange", "{}", "{[2000-01-01,2000-01-03),[infinity,)}"),
	texts("information_schema.cardinal_number", "0", "7"),
	texts("information_schema.character_data", strange...),
	texts("information_schema.sql_identifier", "a", `a "b"`, ""),
	texts("information_schema.time_stamp", "infinity", "2000-01-01 00:00:00+00"),
	texts("information_schema.yes_or_no", "YES", "NO"),
}

// modified are built-in types with modifiers.
var modified = []sample{
	texts("char(5)", "a", "a    ", "", "a\x01", "a\tb", "ääää"),
	texts("varchar(5)", "", "a    ", "😀😀😀😀😀"),
	texts("numeric(10,3)", "1", "-1234567.891", "NaN"),
	texts("numeric(3,-2)", "12345", "-99900", "0"),
	texts("bit(5)", "10101", "00000"),
	texts("varbit(9)", "", "101010101"),
	texts("time(0)", "23:59:59", "24:00:00"),
	texts("timestamp(3)", "2000-01-01 00:00:00.123", "-infinity"),
	texts("timestamptz(0)", "0044-03-15 12:00:00+00 BC"),
	texts("interval year to month", "-1 year 2 mons", "0"),
	texts("interval day to second(2)", "1 day -00:00:00.12"),
}

// refusedTypes are the types with which a plan refuses a table, each with what it
// says.
var refusedTypes = map[string]string{
	"oid": "mean nothing", "regclass": "mean nothing", "regproc": "mean nothing", "regprocedure": "mean nothing", "regoper": "mean nothing", "regoperator": "mean nothing",
	"regtype": "mean nothing", "regrole": "mean nothing", "regnamespace": "mean nothing", "regconfig": "mean nothing", "regdictionary": "mean nothing", "regcollation": "mean nothing",
	"xid": "mean nothing", "xid8": "mean nothing", "cid": "mean nothing", "tid": "mean nothing", "oidvector": "mean nothing", "aclitem": "mean nothing",
	"gtsvector": "cannot be written", "pg_node_tree": "cannot be written", "pg_ndistinct": "cannot be written", "pg_dependencies": "cannot be written",
	"pg_mcv_list": "cannot be written", "pg_brin_bloom_summary": "cannot be written", "pg_brin_minmax_multi_summary": "cannot be written",
}

// ownTypes are types as applications make them, in a schema that is in no path.
const ownTypes = `
	CREATE SCHEMA own;
	CREATE TYPE own.mood AS ENUM ('sad', 'it''s "ok", {really} \', '', E'tab\there', '𝄞');
	ALTER TYPE own.mood ADD VALUE 'later' BEFORE 'sad';
	CREATE TYPE own.pair AS (a int, b text, c float8);
	CREATE TYPE own."Nested Pair" AS (p own.pair, "list of" own.pair[], m own.mood, n numeric);
	CREATE DOMAIN own.positive AS numeric(30,10) DEFAULT 1 CHECK (VALUE > 0);
	CREATE DOMAIN own.more AS own.positive DEFAULT 11 CHECK (VALUE > 10);
	CREATE DOMAIN own.list AS int[] CHECK (cardinality(VALUE) < 5);
	CREATE DOMAIN own.pairs AS own.pair CHECK ((VALUE).a IS NULL OR (VALUE).a <> 4);
	CREATE DOMAIN own.moody AS own.mood CHECK (VALUE <> 'sad');
	CREATE DOMAIN own.padded AS char(5);
	CREATE TYPE own.floats AS RANGE (subtype = float8, subtype_diff = float8mi, multirange_type_name = own.many_floats);
	CREATE TYPE own.moods AS RANGE (subtype = own.mood);
	CREATE COLLATION own.folded (provider = icu, locale = 'und-u-ks-level2', deterministic = false);`

var own = []sample{
	texts("own.mood", "sad", "it's \"ok\", {really} \\", "", "tab\there", "𝄞", "later"),
	texts("own.pair", `(1,"x,""y""",-0)`, `(,"",NaN)`, `(,,)`, `(-1,"\\ back",0.1)`),
	texts(`own."Nested Pair"`, `("(1,""x,""""y"""""",-0)","{""(1,x,2)"",NULL,""(,,)""}","it's ""ok"", {really} \\",1.00)`, `(,,,)`, `("(,,)",{},"",NaN)`),
	texts("own.positive", "0.0000000001", "1"),
	texts("own.more", "11", "99999999999999999999.9999999999"),
	texts("own.list", "{1,NULL,3}", "{}", "[0:1]={1,2}", "{{1},{2}}"),
	texts("own.pairs", "(1,a,2)", "(,,)"),
	texts("own.moody", "", "later", "𝄞"),
	texts("own.padded", "a", "", "a\x01"),
	texts("own.floats", "empty", "[-0,0.1)", "(,Infinity)", "[1,NaN]"),
	texts("own.many_floats", "{}", "{[-0,0.1),[1,2]}"),
	texts("own.moods", "[later,sad]", "empty", `["it's \"ok\", {really} \\",)`),
	{name: "folded", typ: `text COLLATE own.folded`, values: []string{`'a'`, `'A'`, `'ä'`, `''`}},
	{name: "binary_text", typ: `text COLLATE "C"`, values: []string{`'a'`, `'B'`, `E'\\N'`}},
}

// extended are types of extensions that come with PostgreSQL, by extension.
var extended = map[string][]sample{
	"hstore":   {texts("hstore", "", `a=>NULL, "b c"=>"", "\"q\""=>"\\ 'x'"`, `NULL=>"NULL"`)},
	"citext":   {texts("citext", append([]string{"a", "A"}, strange...)...)},
	"ltree":    {texts("ltree", "", "Top.Science.Astronomy", "a.b_1"), texts("lquery", "*.a@*.!b|c.*{1,2}", "a%"), texts("ltxtquery", "a & !b*@")},
	"isn":      {texts("isbn", "0-11-000533-3"), texts("ean13", "220-000000000-2", "978-0-11-000533-1")},
	"cube":     {texts("cube", "(1,2,3),(4,5,-0)", "(NaN)", "()")},
	"seg":      {texts("seg", "1.00 .. 2", "~1.5", "<3", "1 .. ")},
	"intarray": {texts("query_int", "1&(2|!3)")},
}
