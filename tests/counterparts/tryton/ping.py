"""Succeeds when Tryton answers a search with our key: ping.py PORT DATABASE KEY"""
import sys
import urllib.request

port, database, key = sys.argv[1:4]
url = f"http://127.0.0.1:{port}/{database}/rest/model/sale.opportunity?s=1"
request = urllib.request.Request(url, headers={"Authorization": f"bearer {key}"})
urllib.request.urlopen(request, timeout=10).read()
