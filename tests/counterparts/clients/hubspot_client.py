"""HubSpot's own client library (hubspot-api-client) against a running simulator: hubspot_client.py BASE_URL TOKEN."""

import json
import sys
import uuid

from hubspot import HubSpot
from hubspot.crm import contacts, deals, properties

sys.dont_write_bytecode = True
from check import eventually, expect, main, refused

UNIQUE = "leadshare_client_check"


def category(error):
    return json.loads(error.body).get("category")


def steps(base_url, token):
    client = HubSpot(access_token=token, host=base_url)
    api, batch = client.crm.contacts.basic_api, client.crm.contacts.batch_api
    run = uuid.uuid4().hex[:12]
    email = f"first-{run}@client.example"

    wrong = HubSpot(access_token="not-a-token", host=base_url).crm.contacts.basic_api
    error = refused(lambda: wrong.get_page(limit=1), contacts.ApiException, "a token that was never given")
    expect(error.status == 401, f"a wrong token is answered {error.status}")
    yield "a wrong token is refused"

    core = client.crm.properties.core_api
    known = {one.name: one for one in core.get_all("contacts").results}
    expect({"email", "firstname", "lifecyclestage", "hs_lead_status"} <= set(known), "contacts lack properties that every account has")
    expect(len(known["lifecyclestage"].options) > 3, "lifecyclestage has no options")
    if UNIQUE not in known:
        wanted = properties.PropertyCreate(
            name=UNIQUE, label="Client check", type="string", field_type="text", group_name="contactinformation", has_unique_value=True
        )
        made = core.create("contacts", wanted)
        expect(made.has_unique_value is True, "a property that was to be unique is not")
    yield "properties are described, and a unique one is made"

    created = api.create(contacts.SimplePublicObjectInputForCreate(properties={"email": email, "firstname": "Jo", "lastname": "Client"}))
    expect(created.id and created.properties["email"] == email, "a created contact does not come back")
    expect(created.created_at is not None and created.archived is False, "a created contact has no date or is archived")
    yield "a contact is created"

    read = api.get_by_id(created.id, properties=["firstname", "lastmodifieddate", UNIQUE])
    expect(read.properties["firstname"] == "Jo" and read.properties[UNIQUE] is None, "a contact is not read as it was written")
    by_email = api.get_by_id(email, id_property="email")
    expect(by_email.id == created.id, "a contact is not found by its e-mail address")
    yield "it is read by id and by e-mail address"

    twin = contacts.SimplePublicObjectInputForCreate(properties={"email": email})
    error = refused(lambda: api.create(twin), contacts.ApiException, "a second contact with the same address")
    expect(error.status == 409 and category(error) == "CONFLICT", f"a second contact is answered {error.status} {category(error)}")
    expect(f"Existing ID: {created.id}" in json.loads(error.body)["message"], "the conflict does not name the existing id")
    bad = contacts.SimplePublicObjectInputForCreate(properties={"email": "no address"})
    error = refused(lambda: api.create(bad), contacts.ApiException, "an address that is none")
    expect(error.status == 400 and category(error) == "VALIDATION_ERROR", f"an invalid address is answered {error.status} {category(error)}")
    unknown = contacts.SimplePublicObjectInput(properties={"no_such_property": "x"})
    error = refused(lambda: api.update(created.id, unknown), contacts.ApiException, "a property that does not exist")
    expect(error.status == 400, f"an unknown property is answered {error.status}")
    yield "a twin, an invalid address and an unknown property are refused"

    changed = api.update(created.id, contacts.SimplePublicObjectInput(properties={"firstname": "Joan", "jobtitle": "Buyer"}))
    expect(changed.id == created.id and changed.properties["firstname"] == "Joan", "an update does not come back")
    expect(changed.updated_at >= created.updated_at, "an update does not move the time of change")
    api.update(created.id, contacts.SimplePublicObjectInput(properties={"jobtitle": ""}))
    cleared = api.get_by_id(created.id, properties=["jobtitle"]).properties["jobtitle"]
    expect(not cleared, f"an empty text does not clear a property: {cleared!r}")
    yield "it is updated and cleared"

    def upsert(first):
        inputs = [
            contacts.SimplePublicObjectBatchInputUpsert(
                id=f"{run}-{n}", id_property=UNIQUE, properties={"email": f"{n}-{run}@client.example", "firstname": first}
            )
            for n in (1, 2)
        ]
        return batch.upsert(contacts.BatchInputSimplePublicObjectBatchInputUpsert(inputs=inputs))

    first, second = upsert("Ann"), upsert("Anna")
    expect(first.status == "COMPLETE" and len(first.results) == 2, "an upsert of two does not answer two")
    expect(all(one.new for one in first.results), "a first upsert does not say that it made the records")
    expect(not any(one.new for one in second.results), "a second upsert says that it made the records")
    ids = {one.id for one in first.results}
    expect(ids == {one.id for one in second.results}, "a second upsert writes other records")
    yield "two are upserted twice by a unique property"

    inputs = [contacts.SimplePublicObjectId(id=one) for one in sorted(ids) + ["999999999999"]]
    some = batch.read(
        contacts.BatchReadInputSimplePublicObjectId(inputs=inputs, properties=["firstname"], properties_with_history=[])
    )
    expect({one.id for one in some.results} == ids, "a batch read does not answer the records that are there")
    expect(all(one.properties["firstname"] == "Anna" for one in some.results), "a batch read answers old values")
    expect(getattr(some, "num_errors", 0) == 1, "a batch read does not say that one id is missing")
    yield "a batch is read, with one id missing"

    request = contacts.PublicObjectSearchRequest(
        filter_groups=[contacts.FilterGroup(filters=[contacts.Filter(property_name="email", operator="EQ", value=email)])],
        sorts=["lastmodifieddate"],
        properties=["email", "firstname"],
        limit=10,
        after="0",
    )
    search = client.crm.contacts.search_api
    found = eventually(lambda: search.do_search(request).results, "finding the contact by search")
    expect([one.id for one in found] == [created.id], "a search by address finds something else")
    yield "it is found by search"

    page = api.get_page(limit=1)
    expect(len(page.results) == 1 and page.paging.next.after, "a list of several has no second page")
    every = {one.id for one in client.crm.contacts.get_all()}
    expect({created.id} | ids <= every, "a list over all pages lacks contacts")
    yield "all are listed page by page"

    deal = client.crm.deals.basic_api.create(
        deals.SimplePublicObjectInputForCreate(
            properties={"dealname": "Client check", "dealstage": "appointmentscheduled", "pipeline": "default"},
            associations=[
                deals.PublicAssociationsForObject(
                    to=deals.PublicObjectId(id=created.id),
                    types=[deals.AssociationSpec(association_category="HUBSPOT_DEFINED", association_type_id=3)],
                )
            ],
        )
    )
    linked = api.get_by_id(created.id, associations=["deals"]).associations
    expect(linked and deal.id in [one.id for one in linked["deals"].results], "a contact does not name its deal")
    yield "a deal is made and read from its contact"

    api.archive(created.id)
    error = refused(lambda: api.get_by_id(created.id), contacts.ApiException, "reading an archived contact")
    expect(error.status == 404, f"an archived contact is answered {error.status}")
    gone = eventually(
        lambda: [one for one in client.crm.contacts.get_all(archived=True) if one.id == created.id], "listing the archived contact", 10
    )
    expect(gone[0].archived is True and gone[0].archived_at is not None, "an archived contact does not say so")
    api.archive(created.id)
    yield "it is archived, and again"


if __name__ == "__main__":
    main("hubspot_client.py", steps)
