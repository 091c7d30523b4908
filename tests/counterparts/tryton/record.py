"""Records what a real Tryton answers: record.py SERVE_LINE_JSON > connectors/tryton/fixtures/transcript.json

Point it at a server that `serve` has just started in a fresh work directory: ids are part of the answers.
The connectors' tests send the same requests to the simulator and compare.
"""
import base64
import json
import sys
import urllib.error
import urllib.parse
import urllib.request

server = json.loads(sys.argv[1])
BASE = f"/{server['database']}/rest/model/"
OPP, PARTY, MECHANISM = "sale.opportunity", "party.party", "party.contact_mechanism"
CONTEXT = {"company": 1, "employee": 1}
transcript = []


def encoded(value):
    return base64.urlsafe_b64encode(json.dumps(value, separators=(",", ":")).encode()).decode()


def moment(year):
    return {"__class__": "datetime", "year": year, "month": 1, "day": 1, "hour": 0, "minute": 0, "second": 0, "microsecond": 0}


def tell(why, method, tail, body=None, fields=(), domain=None, order=None, size=None, context=None, key=None, path=None):
    query = []
    if domain is not None:
        query.append(("d", domain if isinstance(domain, str) else encoded(domain)))
    if order is not None:
        query.append(("o", encoded(order)))
    if size is not None:
        query.append(("s", str(size)))
    query += [("f", field) for field in fields]
    path = path or BASE + tail
    if query:
        path += "?" + urllib.parse.urlencode(query)
    headers = {"accept": "application/json", "accept-language": "en"}
    if context is not None:
        headers["x-tryton-context"] = encoded(context)
    data = None
    if body is not None:
        headers["content-type"] = "application/json"
        data = json.dumps(body).encode()
    secret = {"authorization": f"bearer {server['key'] if key is None else key}"} if key != "" else {}
    request = urllib.request.Request(server["url"] + path, data=data, headers={**headers, **secret}, method=method)
    try:
        with urllib.request.urlopen(request) as answer:
            status, kind, text = answer.status, answer.headers.get("content-type"), answer.read().decode()
    except urllib.error.HTTPError as error:
        status, kind, text = error.code, error.headers.get("content-type"), error.read().decode()
    response = {"status": status, "content-type": kind}
    if kind == "application/json":
        response["json"] = json.loads(text)
        if tail.endswith("/fields_get"):
            kept = ("name", "type", "string", "readonly", "required", "selection")
            response["json"] = {name: {k: meta[k] for k in kept if k in meta} for name, meta in sorted(response["json"].items())}
    elif text:
        response["text"] = text
    request = {"method": method, "path": path, "headers": headers}
    if body is not None:
        request["body"] = body
    if key is not None:
        request["key"] = key
    transcript.append({"why": why, "request": request, "response": response})
    return response.get("json")


NEW_PARTY = {
    "name": "Ann Lee",
    "code": "lsh-1",
    "contact_mechanisms": [["create", [{"type": "email", "value": "ann@example.com"}, {"type": "phone", "value": "+49 30 901820"}]]],
    "addresses": [["create", [{"street": "Hauptstr. 5", "postal_code": "10115", "city": "Berlin", "country": 3}]]],
}
DATES = ["create_date", "write_date", "last_modified_at"]

# Keys and addresses.
tell("no such database", "GET", OPP, path=f"/other/rest/model/{OPP}")
tell("no key", "GET", OPP, key="")
tell("a wrong key", "GET", OPP, key="wrong")
tell("no such model", "GET", "no.such.model")
tell("no such method", "POST", f"{OPP}/no_such_method", {})
tell("a method that REST does not have", "PATCH", f"{OPP}/1", {})

# A party with everything of its own, in one request.
tell("a party", "POST", PARTY, NEW_PARTY, ["name", "code", "email", "phone", "mobile", "active", "full_name"])
tell("its parts", "GET", f"{PARTY}/3", fields=["contact_mechanisms.type", "contact_mechanisms.value", "contact_mechanisms.value_compact",
     "addresses.street", "addresses.city", "addresses.country.code", *DATES])
tell("codes are unique", "POST", PARTY, {"name": "Twin", "code": "lsh-1"})
tell("a party without a code gets a number", "POST", PARTY, {"name": "Numbered"}, ["code", "addresses", "contact_mechanisms", "email"])
tell("a name may be a number", "PUT", f"{PARTY}/4", {"name": 5}, ["name"])
tell("a mechanism is not set twice by its short name", "PUT", f"{PARTY}/3", {"email": "other@example.com"})
tell("a code is not changed", "PUT", f"{PARTY}/3", {"code": "other"})
tell("an empty mechanism", "PUT", f"{PARTY}/4", {"contact_mechanisms": [["create", [{"type": "email", "value": ""}]]]})
tell("an unknown type of mechanism", "PUT", f"{PARTY}/4", {"contact_mechanisms": [["create", [{"type": "pigeon", "value": "x"}]]]})
tell("a mechanism that is not there", "PUT", f"{MECHANISM}/999", {"value": "x"})

# An opportunity.
tell("without a company", "POST", OPP, {"party": 3, "reference": "lsh-1"})
tell("with a company, but not in the context", "POST", OPP, {"party": 3, "reference": "lsh-1", "company": 1})
tell("preferences name company and employee", "POST", "res.user/get_preferences", {"context_only": True})
tell("an opportunity", "POST", OPP, {"party": 3, "reference": "lsh-1", "description": " Wants widgets ", "amount": {"__class__": "Decimal", "decimal": "100.50"}},
     ["reference", "description", "state", "amount", "conversion_probability", "write_date", "party.name", "employee", "currency.code", "end_date"], context=CONTEXT)
tell("read with paths", "GET", f"{OPP}/1", fields=["state", "party.email", "party.addresses.country.code", "party.contact_mechanisms.value", "sales.state", *DATES])
tell("read without fields", "GET", f"{OPP}/1")
tell("a state is not created", "POST", OPP, {"state": "won", "reference": "lsh-2"}, context=CONTEXT)
tell("nor written", "PUT", f"{OPP}/1", {"state": "won"})
tell("an unknown state", "PUT", f"{OPP}/1", {"state": "never"})
tell("a number for a text", "PUT", f"{OPP}/1", {"description": 5})
tell("an unknown field", "PUT", f"{OPP}/1", {"no_such_field": 5})
tell("a text for a number", "PUT", f"{OPP}/1", {"conversion_probability": "much"})
tell("a probability above one", "PUT", f"{OPP}/1", {"conversion_probability": 5})
tell("an amount as text", "PUT", f"{OPP}/1", {"amount": "200.50"}, ["amount"])
tell("an amount as number", "PUT", f"{OPP}/1", {"amount": 100.5}, ["amount"])
tell("a day as text", "PUT", f"{OPP}/1", {"start_date": "2020-01-02"}, ["start_date", *DATES])
tell("a body that is no object", "PUT", f"{OPP}/1", "x")
tell("one that is not there, read", "GET", f"{OPP}/999")
tell("one that is not there, changed", "PUT", f"{OPP}/999", {"description": "x"})
tell("one that is not there, deleted", "DELETE", f"{OPP}/999")
tell("one that is not there, pressed", "POST", f"{OPP}/999/cancel", {})

# Searching.
tell("exactly", "GET", OPP, domain=[["reference", "=", "lsh-1"]], fields=["reference"])
tell("with case", "GET", OPP, domain=[["reference", "=", "LSH-1"]], fields=["reference"])
tell("through a relation", "GET", OPP, domain=[["party.addresses.country.code", "in", ["DE", "FR"]]], fields=["id"])
tell("where", "GET", OPP, domain=[["party.contact_mechanisms", "where", [["type", "=", "phone"], ["value", "in", ["+49 30 901820"]]]]], fields=["id"])
tell("touched", "GET", OPP, domain=["OR", [["last_modified_at", ">=", moment(2001)], ["last_modified_at", "<", moment(2002)]],
     [["party.last_modified_at", ">=", moment(2001)], ["party.last_modified_at", "<", moment(2099)]]], order=[["id", "ASC"]], size=10, fields=["id"])
tell("nothing", "GET", OPP, domain=[["id", "in", []]], fields=["id"])
tell("an unknown field in a domain", "GET", OPP, domain=[["no_such_field", "=", 1]])
tell("an unknown field to read", "GET", OPP, fields=["no_such_field"])
tell("a domain that is not one", "GET", OPP, domain="!!!")
tell("a text for a moment", "GET", OPP, domain=[["write_date", ">", "x"]])
tell("a text for an id", "GET", OPP, domain=[["id", "in", ["x"]]])
tell("a number as text for an id", "GET", OPP, domain=[["id", "in", ["1"]]], fields=["party"])
tell("counted", "POST", f"{OPP}/search_count", {"domain": [["id", ">=", 1], ["create_date", "<=", moment(2099)]]})
tell("counted in the past", "POST", f"{OPP}/search_count", {"domain": []}, context={"_datetime": moment(2001)})
tell("counted in the future", "POST", f"{OPP}/search_count", {"domain": []}, context={"_datetime": moment(2099)})
tell("listed in the future", "GET", OPP, fields=["id"], context={"_datetime": moment(2099)})
tell("the highest", "POST", f"{OPP}/search_read", {"domain": [["id", ">", 0]], "limit": 1, "order": [["id", "DESC"]], "fields_names": ["id"]})
tell("rights", "POST", "ir.model.access/get_access", {"models": [OPP, PARTY, MECHANISM, "party.address", "country.country", "sale.sale"]})
tell("fields of an opportunity", "POST", f"{OPP}/fields_get", {})
tell("fields of a party", "POST", f"{PARTY}/fields_get", {})

# Buttons, and what they close.
tell("not deleted until cancelled", "DELETE", f"{OPP}/1")
tell("not converted from lead", "POST", f"{OPP}/1/convert", {}, context=CONTEXT)
tell("an opportunity now", "POST", f"{OPP}/1/opportunity", {}, ["state"])
tell("its start is closed", "PUT", f"{OPP}/1", {"start_date": "2020-01-01"})
tell("its party stays", "DELETE", f"{PARTY}/3")
tell("lost", "POST", f"{OPP}/1/lost", {}, ["state"])
tell("its description is closed", "PUT", f"{OPP}/1", {"description": "late"})
tell("its comment too", "PUT", f"{OPP}/1", {"comment": "late"})
tell("its reference is not", "PUT", f"{OPP}/1", {"reference": "lsh-1"}, ["reference"])
tell("not cancelled from lost", "POST", f"{OPP}/1/cancel", {})
tell("no button leads to won", "POST", f"{OPP}/1/won", {})
tell("a lead again", "POST", f"{OPP}/1/lead", {}, ["state"])
tell("and an opportunity", "POST", f"{OPP}/1/opportunity", {}, ["state"])
tell("converted", "POST", f"{OPP}/1/convert", {}, context=CONTEXT)
tell("into a sale", "GET", f"{OPP}/1", fields=["state", "sales.state", "sales.description", "sales.party", "converted_by"])
tell("the sale is cancelled", "POST", "sale.sale/1/cancel", {}, ["state"])
tell("which loses the lead", "GET", f"{OPP}/1", fields=["state", "amount"])
tell("the party has a sale", "DELETE", f"{PARTY}/3")
tell("which can be deleted", "DELETE", "sale.sale/1")
tell("then the party goes", "DELETE", f"{PARTY}/3")
tell("with its mechanisms", "GET", MECHANISM, domain=[["value", "=", "ann@example.com"]], fields=["id"])
tell("and the lead stays", "GET", f"{OPP}/1", fields=["party", "party.name", "state"])
tell("reopened", "POST", f"{OPP}/1/lead", {}, ["state"])
tell("cancelled", "POST", f"{OPP}/1/cancel", {}, ["state"])
tell("deleted", "DELETE", f"{OPP}/1")
tell("gone", "GET", f"{OPP}/1")
tell("gone from lists", "GET", OPP, fields=["id"])

# Parties that were set aside.
tell("inactive", "PUT", f"{PARTY}/4", {"active": False}, ["active"])
tell("not found", "GET", PARTY, domain=[["id", "=", 4]], fields=["id"])
tell("found when asked for", "GET", PARTY, domain=[["id", "=", 4], ["active", "in", [True, False]]], fields=["id", "active"])
tell("not changed", "PUT", f"{PARTY}/4", {"name": "x"})

json.dump(transcript, sys.stdout, indent=1, ensure_ascii=False)
print()
