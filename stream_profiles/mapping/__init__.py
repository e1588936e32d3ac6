"""How a record of any shape (a JSON object, a row of a CSV or of Parquet) becomes an event.

A mapping is a TOML file for replay, or the same content inside the settings of an input topic. An empty one takes
records that are events already. It reads one record at a time and knows no file, topic or clock; whoever calls it
counts what it refuses. Each section is optional:

```toml
[source]                     # how a file is read
delimiter = ";"              # of a CSV; "," by default, a tab for .tsv
encoding = "cp1252"          # "utf-8" by default
keep = ["colour"]            # columns that become properties by their name; true (the default: all others) or false
row_number = "row"           # adds a column of this name: the row's number in its file, from 1

[fields]                     # event field = where it comes from; a field that is not listed: from a column of its name
user_id = "CustomerID"
item_id = "product.sku"      # a column of that name, or a path through nested objects
session_id = ["day", "visit"]                                  # joined by "-"; missing if one of them is
text = {columns = ["brand", "title"], join = " "}
query = {first = ["search", "q"]}                              # the first that is not missing
time = ["year", "month", "day"]
"properties.shade" = "colour"                                  # a property, by a better name

[time]
format = "%Y-%m-%d"          # strptime's, or "iso", "s", "ms", "us", "ns"; by default ms for a number, iso for a text
zone = "Europe/London"       # of times that tell none; "UTC" by default. See `time_reader` for clock changes
plus = {column = "order", each = "1s"}                         # adds 1s times the number in `order`

[constants]
type = "purchase"

[clean]                      # integer number strip lower upper comma absolute cut; one, or a list in order
user_id = "integer"          # "17850.0" -> "17850"
price = "comma"              # "1.299,90" -> "1299.90"
"properties.width" = "number"                                  # "2.50" -> 2.5; a CSV's properties are texts otherwise

[values.category]            # after cleaning; a value that is not listed stays as it is
"1" = "trousers"

[[rules]]                    # on the record as it came, in order: `expressions` has the language
when = 'startswith(InvoiceNo, "C") or Quantity < 0'
set = {type = "refund"}

[[rules]]
when = "missing(CustomerID)"
drop = "anonymous"
```

Rules come first, so a record dropped by one need not be valid; every other matching rule sets its fields, the last one
wins, over [constants] too. A value that is None or "" is missing. A text field takes a whole number as its digits; a
number field takes a text that is written as a number. Columns that no field names become properties, except missing
ones; a `properties` object in the record is merged with them, and a column wins over an entry of the same name.
"""

from .compiled import Dropped, EventMapping
from .config import MappingConfig
from .times import time_reader

__all__ = ["Dropped", "EventMapping", "MappingConfig", "time_reader"]
