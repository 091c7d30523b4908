"""Furnishes a fresh Tryton database: currency, countries, company, employee, and one user with a REST key.

Run by `serve` inside its virtual environment: furnish.py CONFIG DATABASE KEYFILE
"""
import sys
from pathlib import Path

from trytond import config

config_file, database, key_file = sys.argv[1:4]
config.update_etc(config_file)

from trytond.pool import Pool  # noqa: E402  (reads the configuration when it is imported)
from trytond.transaction import Transaction  # noqa: E402

COUNTRIES = {
    "AT": "Austria",
    "CH": "Switzerland",
    "DE": "Germany",
    "FR": "France",
    "GB": "United Kingdom",
    "NL": "Netherlands",
    "US": "United States",
}
# What README.md of the connector tells an administrator to give: leads, and the sales that they become.
GROUPS = [("sale_opportunity", "group_opportunity"), ("sale", "group_sale")]

Pool.start()
pool = Pool(database)
with Transaction().start(database, 0, readonly=True):
    pool.init()

with Transaction().start(database, 1) as transaction:
    get = pool.get
    (currency,) = get("currency.currency").create(
        [{"name": "Euro", "symbol": "€", "code": "EUR", "numeric_code": "978"}]
    )
    get("country.country").create([{"name": name, "code": code} for code, name in COUNTRIES.items()])
    firm, person = get("party.party").create([{"name": "Northwind GmbH"}, {"name": "Robin Sales"}])
    (company,) = get("company.company").create([{"party": firm.id, "currency": currency.id}])
    (employee,) = get("company.employee").create([{"party": person.id, "company": company.id}])
    groups = [get("ir.model.data").get_id(module, name) for module, name in GROUPS]
    (user,) = get("res.user").create(
        [
            {
                "name": "Lead sharing",
                "login": "leadshare",
                "companies": [("add", [company.id])],
                "company": company.id,
                "employees": [("add", [employee.id])],
                "employee": employee.id,
                "groups": [("add", groups)],
            }
        ]
    )
    key = Path(key_file).read_text()
    get("res.user.application").create(
        [{"user": user.id, "application": "rest", "state": "validated", "key": key}]
    )
    transaction.commit()
