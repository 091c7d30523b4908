"""A Salesforce client library (simple-salesforce) against a running simulator: salesforce_client.py BASE_URL TOKEN."""

import datetime
import sys
import uuid

import requests
from simple_salesforce import Salesforce
from simple_salesforce.exceptions import (
    SalesforceExpiredSession,
    SalesforceMalformedRequest,
    SalesforceResourceNotFound,
)
from simple_salesforce.format import format_soql

sys.dont_write_bytecode = True
from check import eventually, expect, main, refused

VERSION = "66.0"


class Loopback(requests.Session):
    """The library asks over https always; a simulator on loopback speaks plain http."""

    def __init__(self, base_url):
        super().__init__()
        self.base_url = base_url
        self.trust_env = False

    def request(self, method, url, *args, **kwargs):
        host = self.base_url.split("://", 1)[1]
        return super().request(method, url.replace(f"https://{host}", self.base_url, 1), *args, **kwargs)


def connect(base_url, token):
    return Salesforce(instance=base_url.split("://", 1)[1], session_id=token, version=VERSION, session=Loopback(base_url))


def code(error):
    return error.content[0]["errorCode"]


def steps(base_url, token):
    sf = connect(base_url, token)
    run = uuid.uuid4().hex[:12]

    error = refused(lambda: connect(base_url, "not-a-session").query("SELECT Id FROM Lead"), SalesforceExpiredSession, "a wrong session")
    expect(code(error) == "INVALID_SESSION_ID", f"a wrong session is answered {code(error)}")
    yield "a wrong session is refused"

    fields = {field["name"]: field for field in sf.Lead.describe()["fields"]}
    expect({"Id", "LastName", "Company", "Email", "Status", "IsConverted", "SystemModstamp"} <= set(fields), "Lead lacks standard fields")
    required = {
        name
        for name, field in fields.items()
        if field["createable"] and not field["nillable"] and not field["defaultedOnCreate"] and field["type"] != "boolean"
    }
    expect({"LastName", "Company"} <= required, f"Lead requires {sorted(required)}")
    expect(any(value["active"] for value in fields["Status"]["picklistValues"]), "Lead.Status has no values")
    markers = [name for name, field in fields.items() if field["custom"] and field["externalId"] and field["unique"]]
    expect(markers, "Lead has no unique external id field: the simulator must be started with one")
    marker = markers[0]
    yield f"Lead is described; its external id is {marker}"

    lead = {"LastName": "O'Client", "Company": "Client & Söhne", "Email": f"first-{run}@client.example", "FirstName": "Jo"}
    created = sf.Lead.create(lead)
    expect(created["success"] is True and created["errors"] == [], "a created lead does not come back")
    lead_id = created["id"]
    expect(lead_id.startswith("00Q") and len(lead_id) == 18, f"a lead has the id {lead_id}")
    error = refused(lambda: sf.Lead.create({"LastName": "NoCompany"}), SalesforceMalformedRequest, "a lead without a company")
    expect(code(error) == "REQUIRED_FIELD_MISSING" and error.content[0]["fields"] == ["Company"], f"it is answered {error.content}")
    error = refused(lambda: sf.Lead.create({**lead, "No_Such__c": 1}), SalesforceMalformedRequest, "a field that does not exist")
    expect(code(error) == "INVALID_FIELD", f"an unknown field is answered {code(error)}")
    yield "a lead is created; one without a company is refused"

    read = sf.Lead.get(lead_id)
    expect(read["attributes"]["type"] == "Lead" and read["Company"] == "Client & Söhne", "a lead is not read as it was written")
    query = format_soql("SELECT Id, LastName, SystemModstamp FROM Lead WHERE Email = {} AND LastName = {}", lead["Email"], lead["LastName"])
    found = sf.query(query)
    expect(found["totalSize"] == 1 and found["done"] is True and found["records"][0]["Id"] == lead_id, "a query finds something else")
    stamp = found["records"][0]["SystemModstamp"]
    datetime.datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%S.%f%z")
    error = refused(lambda: sf.query("SELECT Nothing__c FROM Lead"), SalesforceMalformedRequest, "a query of an unknown field")
    expect(code(error) == "INVALID_FIELD", f"an unknown field in a query is answered {code(error)}")
    error = refused(lambda: sf.query("SELECT FROM WHERE"), SalesforceMalformedRequest, "a query that is none")
    expect(code(error) == "MALFORMED_QUERY", f"a malformed query is answered {code(error)}")
    yield "it is read and queried"

    expect(sf.Lead.update(lead_id, {"FirstName": "Joan", "Title": "Buyer"}) == 204, "an update is not answered 204")
    sf.Lead.update(lead_id, {"Title": None})
    read = sf.Lead.get(lead_id)
    expect(read["FirstName"] == "Joan" and read["Title"] is None, "an update or a null did not arrive")
    yield "it is updated and cleared"

    path = f"{marker}/client-{run}"
    upsert = {"LastName": "Upsert", "Company": "Client", "Email": f"second-{run}@client.example"}
    first = sf.Lead.upsert(path, upsert, raw_response=True)
    second = sf.Lead.upsert(path, {**upsert, "FirstName": "Ann"}, raw_response=True)
    expect(first.status_code == 201 and first.json()["created"] is True, f"a first upsert is answered {first.status_code}")
    expect(second.status_code == 200 and second.json()["created"] is False, f"a second upsert is answered {second.status_code}")
    expect(first.json()["id"] == second.json()["id"], "a second upsert writes another record")
    by_marker = sf.Lead.get_by_custom_id(marker, f"client-{run}")
    expect(by_marker["Id"] == first.json()["id"] and by_marker["FirstName"] == "Ann", "an upserted lead is not found by its external id")
    yield "another is upserted twice and read by its external id"

    expect("DailyApiRequests" in sf.limits(), "the limits do not name the daily requests")
    usage = sf.api_usage.get("api-usage")
    expect(usage is not None and usage.total > usage.used > 0, f"the limit header reads {usage}")
    yield "limits are told"

    every = list(sf.query_all_iter("SELECT Id FROM Lead ORDER BY SystemModstamp, Id"))
    expect({lead_id, first.json()["id"]} <= {one["Id"] for one in every}, "a query over all pages lacks leads")
    now = datetime.datetime.now(datetime.timezone.utc)
    expect(sf.Lead.delete(lead_id) == 204, "a deletion is not answered 204")
    refused(lambda: sf.Lead.get(lead_id), SalesforceResourceNotFound, "reading a deleted lead")
    with_deleted = sf.query_all(format_soql("SELECT Id, IsDeleted FROM Lead WHERE Id = {}", lead_id), include_deleted=True)
    expect(with_deleted["totalSize"] == 1 and with_deleted["records"][0]["IsDeleted"] is True, "queryAll does not show the deleted lead")
    without = sf.query_all(format_soql("SELECT Id FROM Lead WHERE Id = {}", lead_id))
    expect(without["totalSize"] == 0, "query shows a deleted lead")

    def deleted():
        until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=2)
        answer = sf.Lead.deleted(now - datetime.timedelta(minutes=5), until)
        return [one for one in answer["deletedRecords"] if one["id"] == lead_id]

    eventually(deleted, "naming the deleted lead", 10)
    yield "it is deleted, and said to be"


if __name__ == "__main__":
    main("salesforce_client.py", steps)
