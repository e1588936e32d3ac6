"""Records of any shape become events, or are refused with a reason; nothing else can happen to them."""

from __future__ import annotations

import csv
import math
from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from stream_profiles.contracts import MAX_TEXT_LENGTH, MAX_TIME_MS, Event
from stream_profiles.errors import InvalidEvent, MappingError
from stream_profiles.mapping import Dropped, EventMapping, MappingConfig, time_reader

ROOT = Path(__file__).parent.parent
DATA = Path(__file__).parent / "data"
EVENT: dict[str, Any] = {"event_id": "e1", "user_id": "u1", "type": "view", "time": 1_700_000_000_000}


def mapped(record: dict[str, Any], **config: Any) -> Event:
    event = EventMapping(MappingConfig(**config)).to_event(record, "default")
    assert isinstance(event, Event)
    return event


def refused(record: Any, **config: Any) -> str:
    with pytest.raises(InvalidEvent) as caught:
        EventMapping(MappingConfig(**config)).to_event(record, "default")
    return str(caught.value)


class TestIdentity:
    def test_an_event_is_taken_as_it_is(self) -> None:
        record = {**EVENT, "price": 2.5, "quantity": 3, "properties": {"colour": "red", "sizes": [1, 2]}}
        assert mapped(record) == msgspec.convert(record, Event)

    def test_a_missing_id_is_given(self) -> None:
        record = {key: value for key, value in EVENT.items() if key != "event_id"}
        assert mapped(record).event_id == mapped({**record, "event_id": ""}).event_id == "default"
        assert "event_id" not in record

    @pytest.mark.parametrize("price", [2.5, "2.5"])  # By the fast way and by the other one.
    def test_unknown_fields_become_properties(self, price: float | str) -> None:
        record = {**EVENT, "price": price, "colour": "red", "gone": None, "properties": {"colour": "?", "size": 3}}
        assert mapped(record).properties == {"colour": "red", "size": 3}
        assert record["properties"] == {"colour": "?", "size": 3}

    def test_values_that_only_look_different_are_taken(self) -> None:
        event = mapped(
            {**EVENT, "user_id": 17, "time": "2023-11-14T22:13:20Z", "price": " 2.5 ", "rating": 4, "text": ""}
        )
        assert (event.user_id, event.time, event.price, event.rating, event.text) == (
            "17",
            EVENT["time"],
            2.5,
            4.0,
            None,
        )
        assert (
            mapped({**EVENT, "time": "1700000000000"}).time == mapped({**EVENT, "time": 1.7e12}).time == EVENT["time"]
        )

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            ({"user_id": None}, "user_id is missing"),
            ({"user_id": ""}, "user_id is missing"),
            ({"user_id": 1.5}, "user_id is not a text: 1.5"),
            ({"user_id": True}, "user_id is not a text: True"),
            ({"user_id": "u" * 257}, "user_id is longer than 256 characters"),
            ({"event_id": "e" * 257}, "event_id is longer than 256 characters"),
            ({"type": ["view"]}, "type is not a text: ['view']"),
            ({"type": None}, "type is missing"),
            ({"price": math.nan}, "price is not a number: nan"),
            ({"price": math.inf}, "price is not a number: inf"),
            ({"price": "inf"}, "price is not a number: 'inf'"),
            ({"price": "1_000"}, "price is not a number: '1_000'"),
            ({"price": 10**400}, "price is not a number: a number of more than 90 digits"),
            ({"rating": False}, "rating is not a number: False"),
            ({"quantity": "many"}, "quantity is not a number: 'many'"),
            ({"time": None}, "time is missing"),
            ({"time": True}, "time is not a time: True"),
            ({"time": "soon"}, "time is not an ISO time or a number of milliseconds: 'soon'"),
            ({"time": -1}, "time is outside of 1970 to 9999: -1"),
            ({"time": 10**15}, "time is outside of 1970 to 9999: 1000000000000000"),
            ({"time": math.nan}, "time is not an ISO time or a number of milliseconds: nan"),
            ({"time": 10**400}, "time is outside of 1970 to 9999: a number of more than 90 digits"),
            ({"properties": "red"}, "properties is not an object: 'red'"),
        ],
    )
    def test_what_is_no_event_is_refused_with_a_reason(self, change: dict[str, Any], reason: str) -> None:
        assert refused({**EVENT, **change}).startswith(reason)

    @pytest.mark.parametrize("field", ["text", "query"])
    @pytest.mark.parametrize("config", [{}, {"constants": {"currency": "GBP"}}])
    def test_prose_that_is_too_long_is_cut_and_counted(self, field: str, config: dict[str, Any]) -> None:
        mapping = EventMapping(MappingConfig(**config))
        event = mapping.to_event({**EVENT, field: "t" * 1_000_000}, "")
        assert isinstance(event, Event)
        assert getattr(event, field) == "t" * MAX_TEXT_LENGTH
        assert mapping.cut_texts == 1
        mapping.to_event({**EVENT, field: "t" * MAX_TEXT_LENGTH}, "")
        assert mapping.cut_texts == 1

    @pytest.mark.parametrize("record", [None, [], "text", 3])
    def test_only_objects_are_events(self, record: Any) -> None:
        assert refused(record).startswith("the record is not an object: ")

    def test_sums_of_large_numbers_are_no_reason_to_refuse(self) -> None:
        assert mapped({**EVENT, "price": 1.7e308, "quantity": 1.7e308}).price == 1.7e308


class TestFields:
    def test_a_field_comes_from_a_column_a_path_several_or_the_first_of_some(self) -> None:
        config = {
            "fields": {
                "user_id": {"first": ["user.id", "device"]},
                "item_id": "product.sku",
                "session_id": ["day", "visit"],
                "text": {"columns": ["brand", "title"], "join": " "},
                "properties.shade": "colour",
            }
        }
        record = {
            **EVENT,
            "user": {"id": ""},
            "device": "d1",
            "product": {"sku": "s1"},
            "day": 4,
            "visit": "b",
            "brand": "Acme",
            "title": "Lamp",
            "colour": "red",
        }
        event = mapped(record, **config)
        assert (event.user_id, event.item_id, event.session_id, event.text) == ("d1", "s1", "4-b", "Acme Lamp")
        assert event.properties == {"shade": "red", "user": {"id": ""}, "product": {"sku": "s1"}, "user_id": "u1"}
        assert mapped({**record, "visit": None}, **config).session_id is None
        assert refused({**record, "visit": []}, **config).startswith("session_id is joined from something")

    def test_unmapped_columns_can_be_left_out(self) -> None:
        record = {**EVENT, "a": 1, "b": 2, "properties": {"c": 3}}
        assert mapped(record, source={"keep": False}).properties == {"c": 3}
        assert mapped(record, source={"keep": ["b"]}).properties == {"b": 2, "c": 3}

    def test_constants_are_as_the_contract_has_them(self) -> None:
        event = mapped(EVENT | {"type": "click"}, constants={"type": "view", "price": 3, "properties.source": "file"})
        assert (event.type, event.price, event.properties) == ("view", 3.0, {"type": "click", "source": "file"})
        assert isinstance(event.price, float)

    @pytest.mark.parametrize(
        ("cleaners", "value", "result"),
        [
            ("integer", "17850.0", "17850"),
            ("integer", " 17850 ", "17850"),
            ("integer", "-3.00", "-3"),
            ("integer", "1e3", "1000"),
            ("integer", 17850.0, "17850"),
            ("integer", 17850, "17850"),
            ("strip", "  a b ", "a b"),
            (["strip", "lower"], " AbC ", "abc"),
            ("upper", "85123a", "85123A"),
            ("strip", "   ", None),
            ("cut", "x" * 300, "x" * 256),
        ],
    )
    def test_cleaners(self, cleaners: str | list[str], value: Any, result: str | None) -> None:
        assert mapped({**EVENT, "item_id": value}, clean={"item_id": cleaners}).item_id == result

    def test_cleaners_of_numbers(self) -> None:
        clean = {"price": "comma", "quantity": "absolute"}
        event = mapped({**EVENT, "price": "1.299,90", "quantity": "-6"}, clean=clean)
        assert (event.price, event.quantity) == (1299.9, 6.0)
        assert (
            refused({**EVENT, "item_id": "12.5"}, clean={"item_id": "integer"})
            == "item_id is not a whole number: '12.5'"
        )
        for value in ("nan", "x", "1e999", [], True):
            assert refused({**EVENT, "item_id": value}, clean={"item_id": "integer"}).startswith(
                "item_id is not a whole"
            )

    def test_a_property_can_be_made_a_number(self) -> None:
        config = {"fields": {"properties.width": "width"}, "clean": {"properties.width": "number"}}
        assert mapped({**EVENT, "width": " 2.50"}, **config).properties == {"width": 2.5}
        assert mapped({**EVENT, "width": 3}, **config).properties == {"width": 3.0}
        assert mapped({**EVENT, "width": ""}, **config).properties == {}
        for value in ("wide", "nan", "1_000", True):
            assert refused({**EVENT, "width": value}, **config) == f"properties.width is not a number: {value!r}"

    def test_values_are_translated_after_cleaning(self) -> None:
        config = {
            "clean": {"category": "integer"},
            "values": {"category": {"1": "trousers"}, "rating": {"good": 5}, "properties.new": {"true": "yes"}},
            "fields": {"properties.new": "new"},
        }
        event = mapped({**EVENT, "category": "1.0", "rating": "good", "new": True}, **config)
        assert (event.category, event.rating, event.properties) == ("trousers", 5.0, {"new": "yes"})
        assert mapped({**EVENT, "category": 7}, **config).category == "7"


class TestRules:
    RULES = (
        {"when": "missing(customer)", "drop": "anonymous"},
        {"when": "quantity < 0", "set": {"type": "refund", "properties.sign": -1}},
        {"when": "type == 'gift'", "set": {"type": "present"}},
    )

    def test_a_record_is_dropped_before_anything_else_is_asked(self) -> None:
        mapping = EventMapping(MappingConfig(rules=self.RULES))
        assert mapping.to_event({"customer": ""}, "d") == Dropped("anonymous")

    def test_every_rule_that_matches_sets_its_fields_and_the_last_one_wins(self) -> None:
        record = {**EVENT, "customer": "c"}
        config: dict[str, Any] = {"rules": self.RULES, "constants": {"type": "sale"}}
        assert mapped(record, **config).type == "sale"
        event = mapped({**record, "quantity": "-1"}, **config)
        assert (event.type, event.properties["sign"]) == ("refund", -1)
        assert mapped({**record, "quantity": -1, "type": "gift"}, **config).type == "present"


class TestTimes:
    @pytest.mark.parametrize(
        ("time_format", "zone", "value", "expected"),
        [
            (None, "UTC", "2011-02-01T07:26:00+00:00", 1296545160000),
            (None, "Europe/Paris", "2011-02-01T08:26:00", 1296545160000),
            (None, "Europe/Paris", "2011-02-01T07:26:00Z", 1296545160000),
            (None, "UTC", datetime(2011, 2, 1, 7, 26), 1296545160000),
            (None, "Europe/Paris", datetime(2011, 2, 1, 8, 26), 1296545160000),
            ("s", "Europe/Paris", datetime(2011, 2, 1, 7, 26, tzinfo=UTC), 1296545160000),
            ("%Y", "UTC", date(2011, 2, 1), 1296518400000),
            ("%Y-%m-%d %H:%M:%S", "UTC", "2011-02-01 07:26:00", 1296545160000),
            ("%Y-%m-%d %H:%M:%S", "UTC", "2011-2-1 7:26:0", 1296545160000),
            ("%Y-%m-%d", "UTC", "2011-02-01", 1296518400000),
            ("%Y%m%d", "UTC", 20110201, 1296518400000),
            ("%d.%m.%Y %H:%M %z", "UTC", "01.02.2011 08:26 +0100", 1296545160000),
            ("iso", "UTC", "20110201T072600.5", 1296545160500),
            ("s", "UTC", "1296545160", 1296545160000),
            ("s", "UTC", 1296545160.25, 1296545160250),
            ("ms", "UTC", 1296545160000.9, 1296545160000),
            ("us", "UTC", "1296545160000999", 1296545160000),
            ("ns", "UTC", 1296545160000999999, 1296545160000),
            # The clock is put forward: 02:30 does not exist and is read with the offset that held before.
            (None, "Europe/Paris", "2011-03-27T02:30:00", 1301189400000),
            # The clock is put back: of two 02:30 it is the first.
            (None, "Europe/Paris", "2011-10-30T02:30:00", 1319934600000),
            (None, "UTC", datetime.max, MAX_TIME_MS),
        ],
    )
    def test_times_are_read(self, time_format: str | None, zone: str, value: Any, expected: int) -> None:
        read = time_reader(time_format, zone)
        assert read(value) == read(value) == expected

    @pytest.mark.parametrize(
        ("time_format", "value"),
        [
            ("%Y-%m-%d %H:%M:%S", "2011-W05-2 07:26:00"),
            ("%Y-%m-%d %H:%M:%S", "2011-02-01T07:26:00"),
            ("%Y-%m-%d %H:%M:%S", "2011-02-30 07:26:00"),
            ("%Y-%m-%d", "2011-02-01 07:26:00"),
            ("iso", "1296545160"),
            ("s", "2011-02-01"),
            ("s", "nan"),
            ("s", "1e400"),
            ("ms", math.inf),
            ("ms", b"1"),
            ("ms", {}),
            ("ns", "9" * 5000),
            (None, datetime.min.replace(tzinfo=UTC)),
            (None, date.min),
        ],
    )
    def test_what_is_no_time_is_refused(self, time_format: str | None, value: Any) -> None:
        with pytest.raises(InvalidEvent, match=r"^time is .*: "):
            time_reader(time_format, "Europe/Paris")(value)

    def test_the_table_of_texts_is_bounded_and_right(self) -> None:
        read = time_reader("s")
        assert all(read(str(second)) == second * 1000 for second in [*range(45_000), *range(100)])

    def test_a_coarse_time_is_counted_on(self) -> None:
        config: dict[str, Any] = {
            "fields": {"time": ["year", "month", "day"]},
            "time": {"format": "%Y-%m-%d", "plus": {"column": "order", "each": "10s"}},
        }
        record = {"user_id": "u", "type": "view", "year": "2008", "month": 4, "day": "1", "order": "3"}
        event = mapped(record, **config)
        assert (event.time, event.properties) == (1207008030000, {})
        assert refused({**record, "order": "x"}, **config) == "time cannot be counted on by 'order': 'x'"
        assert refused({**record, "order": None}, **config) == "time cannot be counted on by 'order': None"
        assert refused({**record, "order": 1e300}, **config) == "time cannot be counted on by 'order': 1e+300"
        assert refused({**record, "day": ""}, **config) == "time is missing"
        assert refused({**record, "day": "40"}, **config).startswith("time is not in the format '%Y-%m-%d': ")


class TestFiles:
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (
                "[fields]\nusr_id = 'a'",
                ", [fields] usr_id: 'usr_id' is not a field of an event; did you mean 'user_id'?",
            ),
            ("[field]\nuser_id = 'a'", ": there is no key 'field'; did you mean 'fields'?"),
            ("[source]\ndelimeter = ';'", ", [source]: there is no key 'delimeter'; did you mean 'delimiter'?"),
            ("[source]\ndelimiter = '::'", ", [source] delimiter: string should have at most 1 character"),
            ("[source]\nencoding = 'utf9'", ", [source] encoding: 'utf9' is not an encoding"),
            ("[fields]\nuser_id = 3", ", [fields] user_id: "),
            ("[fields]\nuser_id = []", ", [fields] user_id: a field takes"),
            ("[fields]\nuser_id = {columns = ['a'], first = ['b']}", ", [fields] user_id: a field takes"),
            (
                "[fields]\nuser_id = {frist = ['b']}",
                ", [fields] user_id: there is no key 'frist'; did you mean 'first'?",
            ),
            (
                "[time]\nformat = 'unix'",
                ", [time] format: 'unix' is not a time format; there are iso, s, ms, us, ns or",
            ),
            ("[time]\nformat = '%d.%m'", ", [time] format: '%d.%m' does not tell the year"),
            ("[time]\nformat = '%Y %Q'", ", [time] format: '%Y %Q' is not a time format"),
            ("[time]\nzone = 'Europe/Pariss'", ", [time] zone: 'Europe/Pariss' is not a time zone; did you mean"),
            ("[time]\nzone = 'Europe'", ", [time] zone: 'Europe' is not a time zone"),
            ("[time]\nplus = {column = 'a', each = 'day'}", ", [time] plus.each: 'day' is not a duration"),
            ("[constants]\ntime = 3", ", [constants] time: time cannot be the same for every event"),
            ("[constants]\nprice = 'dear'", ", [constants]: price is not a number: 'dear'"),
            ("[constants]\ntype = ''", ", [constants]: type cannot be ''"),
            ("[constants]\ntype = 'a'\n[fields]\ntype = 'b'", ": type is both in [fields] and in [constants]"),
            ("[constants]\ntype = 'a'\n[clean]\ntype = 'lower'", ": type is a constant, so [clean]"),
            ("[clean]\nuser_id = 'integr'", ", [clean] user_id: 'integr' is not a cleaner; did you mean 'integer'?"),
            ("[values.time]\na = 'b'", ": time cannot be translated"),
            ("[[rules]]\nwhen = 'a = 1'\ndrop = 'x'", ", [[rules]] number 1 when: 'a = 1', column 3 '=': write =="),
            ("[[rules]]\nwhen = 'a'", ", [[rules]] number 1: a rule has either"),
            ("[[rules]]\nwhen = 'a'\ndrop = 'x'\nset = {type = 'y'}", ", [[rules]] number 1: a rule has either"),
            ("[[rules]]\ndrop = 'x'", ", [[rules]] number 1: "),
            ("fields = 3", ", [fields]: "),
            ("[fields", " is not TOML: "),
        ],
    )
    def test_a_wrong_file_is_told_in_one_sentence(self, tmp_path: Path, content: str, message: str) -> None:
        path = tmp_path / "shop.toml"
        path.write_text(content)
        with pytest.raises(MappingError) as caught:
            EventMapping.load(path)
        assert f"shop.toml{message}" in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_file_that_cannot_be_read(self, tmp_path: Path) -> None:
        with pytest.raises(MappingError, match=r"there is no mapping file .*nothing\.toml"):
            EventMapping.load(tmp_path / "nothing.toml")
        with pytest.raises(MappingError, match="cannot be read: Is a directory"):
            EventMapping.load(tmp_path)
        (tmp_path / "latin.toml").write_bytes(b"[constants]\ntype = '\xe9'")
        with pytest.raises(MappingError, match="it is not UTF-8 text"):
            EventMapping.load(tmp_path / "latin.toml")

    def test_settings_get_the_same_errors_from_pydantic(self) -> None:
        with pytest.raises(ValidationError, match="did you mean 'user_id'"):
            MappingConfig(fields={"usr_id": "a"})

    def test_the_digest_tells_mappings_apart_and_forgives_order(self) -> None:
        one = MappingConfig(fields={"user_id": "a", "type": "b"})
        assert one.digest == MappingConfig(fields={"type": "b", "user_id": "a"}).digest
        assert one.digest != MappingConfig(fields={"type": "b", "user_id": "c"}).digest != MappingConfig().digest
        assert MappingConfig(source={"row_number": "row"}).digest != MappingConfig().digest

    def test_the_digest_of_what_an_earlier_release_could_say_is_as_it_was(self) -> None:
        assert MappingConfig().digest == "5ecb4e4de335ffb9"
        assert MappingConfig(source={"keep": ["a"]}, constants={"type": "view"}).digest == "0d98fc882cf9cdba"

    @pytest.mark.parametrize(
        ("config", "columns", "message"),
        [
            ({}, ["user_id", "type"], "has no column 'time', and the mapping does not say where time comes from"),
            (
                {"fields": {"user_id": "CustomerId"}},
                ["CustomerID"],
                "'CustomerId', which [fields] user_id names; did you",
            ),
            ({"fields": {"user_id": {"first": ["a", "b"]}}}, ["c"], "none of the columns 'a', 'b'"),
            ({"rules": [{"when": "cost > 1", "drop": "x"}]}, ["user_id", "type", "time"], "the rule 'cost > 1' names"),
            ({"source": {"keep": ["x"]}}, ["user_id", "type", "time"], "'x', which [source] keep names"),
            (
                {"time": {"plus": {"column": "order", "each": "1s"}}},
                ["user_id", "type", "time", "Order"],
                "'order', which [time] plus names; did you mean 'Order'?",
            ),
        ],
    )
    def test_a_header_without_a_column_is_found(self, config: dict[str, Any], columns: list[str], message: str) -> None:
        with pytest.raises(MappingError) as caught:
            EventMapping(MappingConfig(**config)).check_columns(columns, "shop.csv")
        assert message in str(caught.value)
        assert str(caught.value).startswith("shop.csv has no")

    def test_a_header_with_enough_is_fine(self) -> None:
        config = {
            "fields": {"user_id": {"first": ["a", "b"]}, "time": "at.utc", "item_id": ["x", "y"]},
            "rules": [{"when": "product.price > 0", "set": {"type": "buy"}}],
        }
        EventMapping(MappingConfig(**config)).check_columns(["b", "at", "x", "y", "product"], "f")


class TestExamples:
    def events(self, name: str) -> tuple[list[Event], Counter[str]]:
        mapping = EventMapping.load(ROOT / "examples" / f"{name}.toml")
        events, dropped = [], Counter[str]()
        with (DATA / f"{name}_sample.csv").open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file, delimiter=mapping.config.source.delimiter or ",")
            mapping.check_columns(rows.fieldnames or [], name)
            for number, row in enumerate(rows, 1):
                event = mapping.to_event(row, f"{name}-{number}")
                if isinstance(event, Dropped):
                    dropped[event.reason] += 1
                else:
                    events.append(event)
        return events, dropped

    def test_online_retail(self) -> None:
        events, dropped = self.events("online_retail")
        assert dropped == {"anonymous": 2}
        assert Counter(event.type for event in events) == {"purchase": 7, "refund": 2}
        assert events[0] == Event(
            event_id="online_retail-1",
            user_id="17850",
            type="purchase",
            time=1291191960000,
            item_id="85123A",
            price=2.55,
            quantity=6.0,
            currency="GBP",
            session_id="536365",
            text="WHITE HANGING HEART T-LIGHT HOLDER",
            country="United Kingdom",
        )
        assert events[-1].text == "BAKING SET 9 PIECE RETROSPOT"

    def test_eshop_clothing(self) -> None:
        events, dropped = self.events("eshop_clothing_2008")
        assert not dropped
        assert {event.category for event in events} == {"trousers", "skirts", "blouses", "sale"}
        assert events[0] == Event(
            event_id="eshop_clothing_2008-1",
            user_id="1",
            type="view",
            time=1207008001000,
            item_id="A13",
            category="trousers",
            price=28.0,
            currency="USD",
            session_id="1",
            country="29",
            properties={"location": "5", "page": "1", "colour": "beige", "above_average_price": "no"},
        )
        assert [event.time - events[0].time for event in events[:9]] == [second * 1000 for second in range(9)]


text = st.text("aC3.-é \n", max_size=4) | st.sampled_from(["12.0", "-3", "2011-02-01", "1e999", "x" * 300, "٣"])
scalars = st.none() | st.booleans() | st.integers() | st.floats() | text | st.just(10**400)
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=5,
)
names = st.sampled_from([*Event.__struct_fields__, "a", "b", "user", "order"])
records = st.dictionaries(names, json_values, max_size=8)
MAPPINGS = [
    MappingConfig(),
    MappingConfig(
        fields={"user_id": {"first": ["user.a", "a"]}, "item_id": ["a", "b"], "time": "b", "properties.x": "a.b"},
        time={"format": "%Y-%m-%d", "zone": "Europe/Paris", "plus": {"column": "order", "each": "1s"}},
        clean={"user_id": ["strip", "integer"], "price": ["comma", "absolute"], "text": "cut", "properties.x": "lower"},
        values={"category": {"3": "three", "true": "yes"}, "properties.x": {"3": 3}},
        rules=[{"when": "a > 3 or lower(b) == 'c'", "set": {"type": "x"}}, {"when": "missing(user)", "drop": "y"}],
    ),
    MappingConfig(constants={"type": "view", "user_id": "u"}, time={"format": "s"}, source={"keep": ["a"]}),
]


@given(records, st.sampled_from(MAPPINGS))
def test_any_record_is_an_event_or_refused_or_dropped(record: dict[str, Any], config: MappingConfig) -> None:
    before = repr(record)
    try:
        event = EventMapping(config).to_event(record, "default")
    except InvalidEvent as error:
        assert str(error)
        assert len(str(error)) < 250
    else:
        if isinstance(event, Event):
            # It is what the contract says, and another service can read it.
            assert msgspec.json.decode(msgspec.json.encode(event), type=Event).event_id == event.event_id
            msgspec.convert(msgspec.structs.asdict(event), Event)
    assert repr(record) == before


@given(records)
def test_the_fast_way_and_the_other_one_agree(record: dict[str, Any]) -> None:
    fast = EventMapping()
    other = EventMapping(MappingConfig(source={"delimiter": ";"}))
    outcomes = []
    for mapping in (fast, other):
        try:
            outcomes.append(repr(mapping.to_event({**EVENT, **record}, "default")))
        except InvalidEvent as error:
            outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]
