"""Small templates, one for each thing that the language of templates can do, for `chat_templates.py`."""

VARIABLES = {
    "text": "  Hello, Wörld!\n",
    "word": "straße",
    "empty": "",
    "emoji": "👩‍👩‍👧 e\u0301 שלום 你好",
    "odd": "a\u00a0b\u200bc\td'e\"f\\g\x7f",
    "number": 7,
    "negative": -3,
    "ratio": 0.1,
    "whole": 2.0,
    "huge": 1e20,
    "tiny": 1.5e-7,
    "yes": True,
    "no": False,
    "nothing": None,
    "list": [3, 1, 2],
    "words": ["pear", "Apple", "fig"],
    "mixed": [1, "two", None, True, 2.5, [], {}],
    "map": {"b": 1, "a": [1, {"c": None}], "é": "<&>'\""},
    "none_map": {},
    "people": [
        {"name": "Ann", "age": 31, "tags": ["x"]},
        {"name": "bob", "age": 25},
        {"name": "Cy", "age": 31, "tags": []},
    ],
    "schema": {"type": "object", "properties": {"items": {"type": "array", "items": {"type": "string"}}}},
}

# Each line is a template.
OUTPUT = r"""
{{ yes }} {{ no }} {{ nothing }} {{ number }} {{ ratio }} {{ whole }} {{ huge }} {{ tiny }}
{{ true }} {{ True }} {{ false }} {{ False }} {{ none }} {{ None }}
{{ list }} {{ words }} {{ mixed }} {{ map }} {{ none_map }}
{{ emoji }} {{ odd }} {{ [emoji, odd] }}
{{ (1, 'a') }} {{ (1,) }} {{ () }}
{{ missing }}|{{ missing ~ 'x' }}|{{ map.missing }}|{{ map['missing'] }}|{{ list[9] }}
{{ [missing] }}
{{ yes ~ nothing ~ ratio ~ list ~ map }}
{{ 'a' 'b' }}
{{ "tab\tnewline\nquote\"backslash\\unicodeé" }}
{{ 'it\'s' }} {{ "it's" }}
{{ 1e3 }} {{ 1_000 }} {{ 0.5 }} {{ 1.0 }} {{ 10000000000000000000000 }}
{{ -number }} {{ - 3 }}
{{ [1, 2][0] }} {{ {'a': 1}['a'] }} {{ {'a': 1}.a }} {{ 'abc'[1] }} {{ 'abc'[-1] }} {{ 'abc'[7] }}|
{{ emoji[0] }} {{ emoji[-1] }} {{ emoji | length }}
{{ text.missing }}|{{ number.missing }}|{{ nothing.missing }}|
{{ list.0 }} {{ people.0.name }} {{ people[0]['name'] }} {{ people[-1].name }}
"""

OPERATORS = r"""
{{ 7 + 2 }} {{ 7 - 2 }} {{ 7 * 2 }} {{ 7 / 2 }} {{ 7 // 2 }} {{ 7 % 2 }} {{ 7 ** 2 }} {{ 4 / 2 }}
{{ -7 // 2 }} {{ -7 % 3 }} {{ 7.5 // 2 }} {{ 2 ** -1 }} {{ 1 / 3 }} {{ 0.1 + 0.2 }}
{{ 'a' + 'b' }} {{ [1] + [2] }} {{ 'ab' * 3 }} {{ [0] * 2 }} {{ '-' * 0 }}|
{{ yes + 1 }} {{ 1 == 1.0 }} {{ true == 1 }} {{ 'a' == "a" }} {{ nothing == none }} {{ missing == none }}
{{ 1 < 2 < 3 }} {{ 'a' < 'b' }} {{ [1, 2] < [1, 3] }} {{ 2 >= 2 }} {{ 2 != 3 }} {{ 1 < 1.5 }}
{{ yes and no }} {{ yes or no }} {{ not yes }} {{ empty or 'default' }} {{ number and 'x' }} {{ nothing or missing or 'z' }}
{{ 'ell' in text }} {{ 3 in list }} {{ 'b' in map }} {{ 'x' not in map }} {{ 'a' in missing }} {{ none in mixed }}
{{ 'yes' if yes else 'no' }} {{ 'yes' if no }}|{{ 'a' if no else 'b' if no else 'c' }}
{{ number is defined and number > 3 }} {{ missing is defined and missing > 3 }}
{{ 1 ~ 2 ~ 'x' }} {{ (1, 2) + (3,) }}
{{ not 'a' in text }} {{ not yes is false }} {{ 2 + 3 is odd }}
{{ list == [3, 1, 2] }} {{ {'a': 1} == {'a': 1.0} }} {{ words[0] == 'pear' and words[1] != 'pear' }}
"""

SLICES = r"""
{{ list[1:] }} {{ list[:1] }} {{ list[-1:] }} {{ list[::-1] }} {{ list[::2] }} {{ list[5:] }} {{ list[:-1] }}
{{ word[1:3] }} {{ word[:-1] }} {{ word[::-1] }} {{ word[::2] }} {{ word[-3:] }} {{ emoji[1:4] }}
{% for p in people[1:] %}{{ loop.index }}{{ p.name }}{% endfor %} {{ people[1:] | length }} {{ people[1:][0].name }}
{{ list[1:][-1] }} {{ (1, 2, 3)[1:] }}
{{ words[:2] | join(' ') }} {{ (words[1:] + ['x'])[0] }} {{ words[1:] == ['Apple', 'fig'] }}
"""

STATEMENTS = r"""
{% set x = 1 %}{% set x = x + 1 %}{{ x }}{% set a, b = (1, 2) %}{{ a }}{{ b }}
{% set x = 1 %}{% for i in list %}{% set x = i %}{% endfor %}{{ x }}
{% set ns = namespace(x=1, y='') %}{% for i in list %}{% set ns.x = ns.x + i %}{% set ns.y = ns.y ~ i %}{% endfor %}{{ ns.x }}{{ ns.y }}
{% set ns = namespace({'a': 1}, b=2) %}{{ ns.a }}{{ ns.b }}{{ ns.c }}|{{ ns.c is defined }}
{% set x %}  captured {{ number }} {% endset %}[{{ x }}]{{ x | length }}
{% set x | upper %}captured{% endset %}{{ x }}
{% for i in list %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }} {% endfor %}
{% for i in list %}{{ loop.previtem }}<{{ i }}>{{ loop.nextitem }} {% endfor %}
{% for i in list %}{% if loop.previtem is defined %}{{ loop.previtem }}{% endif %}{{ loop.cycle('a', 'b') }}{{ loop.changed(i > 1) }}{% endfor %}
{% for i in [] %}x{% else %}none{% endfor %}{% for i in missing %}x{% else %}missing{% endfor %}
{% for i in list if i > 1 %}{{ i }}{{ loop.index }}{{ loop.last }}{% endfor %}
{% for k in map %}{{ k }}{% endfor %}{% for k, v in map.items() %}{{ k }}={{ v }};{% endfor %}{% for k, v in map | items %}{{ k }}{% endfor %}
{% for c in word %}{{ c }}.{% endfor %}
{% for i in range(5) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}
{% for i in range(2) %}{% for j in range(2) %}{{ loop.index }}{{ i }}{{ j }} {% endfor %}{{ loop.index }}{% endfor %}
{% for i in range(1, 10, 3) %}{{ i }}{% endfor %}{% for i in range(3, 0, -1) %}{{ i }}{% endfor %}
{% for a, b in [(1, 2), [3, 4]] %}{{ a }}{{ b }}{% endfor %}{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}
{% for n in [[1, [2]], 3] recursive %}{% if n is iterable %}[{{ loop(n) }}]{% else %}{{ n }}{% endif %}{% endfor %}
{% if no %}a{% elif yes %}b{% else %}c{% endif %}{% if not missing %}d{% endif %}{% if empty %}{% else %}e{% endif %}
{% macro m(a, b='x', c=none) %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ m(1) }} {{ m(1, c=2) }} {{ m(b=3) }}
{% macro m(a) %}<{{ caller() }}{{ a }}>{% endmacro %}{% call m(1) %}body{% endcall %}
{% macro m(a) %}{% for x in a %}{% if x is iterable %}({{ m(x) }}){% else %}{{ x }}{% endif %}{% endfor %}{% endmacro %}{{ m([1, [2, [3]]]) }}
{% macro m() %}{{ number }}{% set number = 1 %}{{ number }}{% endmacro %}{{ m() }}{{ number }}
{% macro m() -%} x {%- endmacro %}{% set r = m() %}{{ r ~ r | length }}
{% filter upper %}hello {{ word }}{% endfilter %}
{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a }}
{% raw %}{{ not rendered }} {% generation %}{% endraw %}
{# a comment {{ x }} #}after
{% generation %}said{% set inner = 1 %}{% endgeneration %}{{ inner }}
{%- generation -%} said {%- endgeneration -%}
{% for i in list %}{% generation %}{{ i }}{{ loop.index }}{% endgeneration %}{% endfor %}
{% set x = [] %}{% set x = x + [1] %}{% set x = x + ['b'] %}{{ x }}{{ x | length }}
{% set x = {} %}{% set x = dict(x, a=1) %}{{ x }}{{ dict(b=2) }}
{% set d = dict([('a', 1), ('b', 2)]) %}{{ d.b }}
{% block b %}in a block{% endblock %}
{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}
{% set j = joiner(', ') %}{% for i in list %}{{ j() }}{{ i }}{% endfor %}
{% if yes %}{% set inside = 1 %}{% endif %}{{ inside }}
{% for p in people %}{% set last = p.name %}{% if loop.last %}{{ last }}{% endif %}{% endfor %}{{ last }}
{% if number is not none and number %}x{% endif %}{% if (yes and (no or yes)) %}y{% endif %}
{% set loop_messages = people[1:] %}{% for m in loop_messages %}{{ m['name'] }}{% endfor %}{{ loop_messages | length }}
{% do list %}
"""

FILTERS = r"""
{{ text | trim }}|{{ text | upper }}|{{ text | lower }}|{{ 'hELLO wORLD-x (y)' | title }}|{{ 'hELLO' | capitalize }}|{{ 'xxaxx' | trim('x') }}
{{ '\x1c a \u00a0\u2003' | trim }}|{{ missing | trim }}|{{ nothing | trim }}|{{ number | trim }}
{{ list | length }} {{ word | length }} {{ map | length }} {{ missing | length }} {{ words | count }}
{{ list | first }} {{ list | last }} {{ word | first }} {{ word | last }} {{ [] | first }}|{{ [] | last }}|
{{ list | sort }} {{ words | sort }} {{ list | sort(reverse=true) }} {{ people | sort(attribute='age') | map(attribute='name') | list }} {{ words | sort(case_sensitive=true) }}
{{ list | join }} {{ list | join(', ') }} {{ mixed | join('|') }} {{ people | join(', ', attribute='name') }} {{ missing | join }} {{ word | join('.') }}
{{ people | map(attribute='name') | list }} {{ people | map(attribute='tags', default='-') | list }} {{ words | map('upper') | join }} {{ mixed | map('tojson') | list }}
{{ people | selectattr('tags') | list | length }} {{ people | selectattr('tags', 'defined') | map(attribute='name') | join(',') }} {{ people | rejectattr('age', 'equalto', 31) | map(attribute='name') | list }}
{{ people | selectattr('name', 'in', ['Ann', 'Cy']) | list | length }} {{ people | selectattr('age', '==', 25) | map(attribute='name') | first }} {{ people | selectattr('age', 'gt', 30) | list | last }}
{{ list | select('odd') | list }} {{ list | reject('odd') | list }} {{ mixed | select | list }} {{ mixed | select('string') | list }} {{ mixed | reject('none') | list | length }}
{{ missing | default('d') }} {{ empty | default('d') }}|{{ empty | default('d', true) }} {{ nothing | default('d') }} {{ empty | default('d', boolean=true) }} {{ missing | d }}|{{ map.x | default({}) }}
{{ '12' | int }} {{ '12.7' | int }} {{ 'x' | int }} {{ 'x' | int(5) }} {{ 3.9 | int }} {{ yes | int }} {{ ' 4 ' | int }} {{ nothing | int }} {{ 'ff' | int(base=16) }} {{ -3.9 | int }}
{{ '1.5' | float }} {{ 'x' | float }} {{ 3 | float }} {{ 'x' | float(2.5) }} {{ '1e3' | float }}
{{ 3.14159 | round(2) }} {{ 3.5 | round }} {{ 2.5 | round }} {{ 3.14159 | round(1, 'floor') }} {{ 3.1 | round(0, 'ceil') }} {{ 7 | round }}
{{ -3 | abs }} {{ (-2.5) | abs }} {{ list | sum }} {{ people | sum(attribute='age') }} {{ list | max }} {{ list | min }} {{ words | max }} {{ [] | sum }}
{{ list | reverse | list }} {{ word | reverse }} {{ list | list }} {{ word | list }} {{ map | list }} {{ [1, 1, 2] | unique | list }} {{ ['a', 'A'] | unique | list }}
{{ 'aXbX' | replace('X', '-') }} {{ 'aXbX' | replace('X', '-', 1) }} {{ 'abc' | replace('', '.') }} {{ number | replace('7', '8') }}
{{ 'a\nb\n\nc' | indent }}|{{ 'a\nb' | indent(2) }}|{{ 'a\nb' | indent(2, true) }}|{{ 'a\n\nb' | indent(2, blank=true) }}|{{ 'a\nb' | indent('>>') }}|{{ 'a\nb' | indent(width=1, first=True) }}
{{ '%s and %s' | format('a', 1) }} {{ '%05.2f|%x|%5d|%-5s|' | format(3.14159, 255, 42, 'x') }} {{ '%s' | format(yes) }} {{ '%s %s' | format(nothing, list) }} {{ '%d%%' | format(5) }}
{{ map | dictsort }} {{ map | dictsort(reverse=true) | first | first }} {{ {'B': 2, 'a': 1} | dictsort }} {{ {'x': 2, 'y': 1} | dictsort(by='value') }}
{{ [1, 2, 3, 4, 5] | batch(2) | list }} {{ [1, 2, 3] | batch(2, 'x') | list }} {{ [1, 2, 3, 4, 5] | slice(2) | list }}
{% for g in people | groupby('age') %}{{ g.grouper }}:{{ g.list | map(attribute='name') | join(',') }};{% endfor %}{% for k, v in people | groupby('age') %}{{ k }}{{ v | length }}{% endfor %}
{{ '<a href="x">&\'</a>' | e }} {{ '<b>' | escape }} {{ '<b>' | safe }} {{ '<b>' | string }}
{{ mixed | string }} {{ huge | string }} {{ nothing | string }} {{ yes | string + 'x' }} {{ map | string | length }}
{{ map | items | list }} {{ people | map(attribute='name') | map('lower') | list }}
{{ 'a b  c' | wordcount }}
{{ 'x' | center(5) }}|
{{ 'a b&c/d' | urlencode }}
{{ word | upper | lower }} {{ 'ǆ' | capitalize }} {{ 'ΑΣ' | lower }} {{ 'İ' | lower | length }}
"""

JSON = r"""
{{ map | tojson }} {{ mixed | tojson }} {{ emoji | tojson }} {{ odd | tojson }} {{ nothing | tojson }} {{ yes | tojson }} {{ ratio | tojson }} {{ huge | tojson }} {{ tiny | tojson }} {{ whole | tojson }}
{{ map | tojson(indent=2) }}
{{ mixed | tojson(indent=4) }}{{ [] | tojson(indent=2) }}{{ {} | tojson(indent=2) }}
{{ map | tojson(ensure_ascii=true) }} {{ emoji | tojson(ensure_ascii=True) }} {{ map | tojson(false) }} {{ map | tojson(True, 1) }}
{{ map | tojson(separators=(',', ':')) }} {{ map | tojson(separators=[' ; ', '=']) }} {{ map | tojson(indent=1, separators=(',', ': ')) }}
{{ map | tojson(sort_keys=true) }} {{ map | tojson(indent='\t') }} {{ map | tojson(indent=0) }} {{ map | tojson(indent=none) }}
{{ {1: 'a', none: 'b', true: 'c', 1.5: 'd'} | tojson }}
{{ '<script>&\'"/' | tojson }} {{ '\x00\x1f\x7f\u2028' | tojson }} {{ (1, 2) | tojson }}
{{ people | map(attribute='name') | list | tojson }} {{ list[1:] | tojson }}
{{ schema | tojson }} {{ schema.properties['items'] | tojson }} {{ 'x' | tojson ~ 'y' }}
{{ map.items() | list | tojson }} {{ namespace(a=1).a | tojson }}
"""

TESTS = r"""
{{ number is defined }} {{ missing is defined }} {{ missing is undefined }} {{ map.x is defined }} {{ nothing is defined }} {{ map['b'] is defined }}
{{ nothing is none }} {{ missing is none }} {{ no is none }} {{ nothing is not none }} {{ nothing is boolean }}
{{ text is string }} {{ number is string }} {{ list is string }} {{ missing is string }}
{{ map is mapping }} {{ list is mapping }} {{ text is mapping }} {{ missing is mapping }}
{{ list is iterable }} {{ text is iterable }} {{ map is iterable }} {{ number is iterable }} {{ nothing is iterable }} {{ missing is iterable }}
{{ list is sequence }} {{ text is sequence }} {{ map is sequence }} {{ number is sequence }} {{ (1, 2) is sequence }} {{ list[1:] is sequence }}
{{ number is number }} {{ ratio is number }} {{ yes is number }} {{ text is number }} {{ number is integer }} {{ yes is integer }} {{ whole is integer }} {{ whole is float }} {{ number is float }}
{{ yes is boolean }} {{ number is boolean }} {{ yes is true }} {{ no is false }} {{ 1 is true }} {{ 0 is false }}
{{ 3 is odd }} {{ 3 is even }} {{ 6 is divisibleby 3 }} {{ 6 is divisibleby(4) }}
{{ 1 is eq 1 }} {{ 1 is equalto 2 }} {{ 1 is ne 2 }} {{ 1 is lt 2 }} {{ 1 is gt 2 }} {{ 1 is ge 1 }} {{ 1 is le 0 }} {{ 1 is lessthan 2 }} {{ 1 is greaterthan(2) }}
{{ 1 is in [1, 2] }} {{ 'x' is in 'xyz' }} {{ 'x' is not in ['y'] }} {{ nothing is sameas none }} {{ yes is sameas true }}
{{ 'abc' is lower }} {{ 'ABC' is upper }} {{ range is callable }} {{ number is callable }} {{ raise_exception is defined }} {{ strftime_now is defined }}
{{ 'upper' is filter }} {{ 'nope' is filter }} {{ 'odd' is test }}
"""

METHODS = r"""
{{ text.strip() }}|{{ text.lstrip() }}|{{ text.rstrip() }}|{{ 'xxaxx'.strip('x') }}|{{ 'abcab'.lstrip('ba') }}|{{ 'abcab'.rstrip('ab') }}|{{ '\x1ca\x1f'.strip() }}|{{ '\n\n a'.lstrip('\n') }}
{{ 'a,b,c'.split(',') }} {{ 'a,b,c'.split(',', 1) }} {{ ' a  b '.split() }} {{ 'a b c'.split(none, 1) }} {{ ' a  b  c '.split(None, 1) }} {{ 'a,b,c'.rsplit(',', 1) }} {{ ' a  b  c '.rsplit(none, 1) }} {{ 'abc'.split('x') }} {{ ''.split(',') }} {{ ''.split() }} {{ 'a,b'.split(sep=',') }} {{ 'a,b,c'.split(',', maxsplit=1) }}
{{ 'x</think>y</think>z'.split('</think>')[-1] }} {{ 'x</think>y'.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') }} {{ 'abc'.split('b') | last }}
{{ 'Hello'.upper() }} {{ 'Hello'.lower() }} {{ 'hello world'.title() }} {{ "they're".title() }} {{ 'hELLO'.capitalize() }} {{ 'Hello'.swapcase() }}
{{ 'hello'.startswith('he') }} {{ 'hello'.startswith(('x', 'h')) }} {{ 'hello'.endswith('lo') }} {{ 'hello'.endswith(('x', 'y')) }} {{ 'hello'.startswith('') }}
{{ 'hello'.replace('l', 'L') }} {{ 'hello'.replace('l', 'L', 1) }} {{ 'hello'.replace('', '-') }}
{{ 'hello'.find('l') }} {{ 'hello'.find('z') }} {{ 'hello'.rfind('l') }} {{ 'hello'.index('l') }} {{ 'hello'.count('l') }} {{ 'hello'.find('l', 3) }} {{ 'hello'.find('l', 0, 2) }} {{ 'aaa'.count('') }} {{ 'hello'.rindex('l') }} {{ emoji.find('你') }}
{{ ', '.join(['a', 'b']) }} {{ ''.join([]) }}|{{ '-'.join('abc') }} {{ ','.join(map) }}
{{ 'a\nb\r\nc\x0bd\u2028e'.splitlines() }} {{ 'a\nb\n'.splitlines(true) }} {{ ''.splitlines() }} {{ 'a\n\nb'.splitlines() | length }}
{{ 'a=b=c'.partition('=') }} {{ 'a=b=c'.rpartition('=') }} {{ 'abc'.partition('x') }} {{ 'abc'.rpartition('x') }}
{{ 'prefix_x'.removeprefix('prefix_') }} {{ 'x_suffix'.removesuffix('_suffix') }} {{ 'x'.removeprefix('y') }}
{{ '42'.zfill(5) }} {{ '-42'.zfill(5) }} {{ 'x'.ljust(3) }}|{{ 'x'.rjust(3, '.') }} {{ 'x'.center(4, '*') }} {{ 'ab'.center(5, '*') }}
{{ '12'.isdigit() }} {{ 'a1'.isalnum() }} {{ 'ab'.isalpha() }} {{ ' '.isspace() }} {{ ''.isdigit() }} {{ 'AB'.isupper() }} {{ 'ab'.islower() }} {{ 'é'.isascii() }} {{ '½'.isnumeric() }}
{{ '{} and {}'.format('a', 1) }} {{ '{1}{0}'.format('a', 'b') }} {{ '{x}'.format(x=3) }} {{ '{:>5}|{:.2f}|{:03d}'.format('a', 3.14159, 7) }} {{ '{{}}'.format() }}
{{ map.keys() | list }} {{ map.values() | list }} {{ map.items() | list }} {{ map.get('b') }} {{ map.get('x') }} {{ map.get('x', 'd') }} {{ map.get('x', {}).get('y') }} {{ map.keys() | length }} {{ 'b' in map.keys() }} {{ map.items() | length }}
{% for k, v in schema.properties.items() %}{{ k }}{{ v.type }}{% endfor %}{{ schema.properties['items']['items'].type }}{{ schema.get('type') }}
{{ map.copy() == map }} {{ list.copy() }} {{ list.index(1) }} {{ list.count(1) }} {{ words.index('fig') }} {{ (1, 2).index(2) }}
{{ list.append(4) }}
{{ map.update({'x': 1}) }}
{{ map.pop('b') }}
{{ text.nope() }}
"""

ERRORS = r"""
{{ missing.attribute }}
{{ list[missing:] }}
{{ missing | tojson }}
{{ missing.attribute.other }}
{{ missing() }}
{{ missing + 1 }}
{{ 'a' + 1 }}
{{ number + 'a' }}
{{ nothing + 'a' }}
{{ 1 / 0 }}
{{ 1 % 0 }}
{{ nothing | length }}
{{ number | length }}
{{ raise_exception('refused: ' ~ number) }}
{{ raise_exception() }}
{{ x | nofilter }}
{{ x is notest }}
{{ number() }}
{{ text.strip(1) }}
{% for i in number %}{% endfor %}
{% set a, b = [1] %}
{% set map.x = 1 %}
{% for a, b in list %}{% endfor %}
{{ range(1000000) }}
{{ [].index(1) }}
{{ list | join(1, 2, 3) }}
{{ nothing.strip() }}
{% include 'other' %}
{% if %}
{% for x in %}{% endfor %}
{% if yes %}never closed
{{ unclosed
{% endif %}
{% unknown %}
{{ 'unclosed }}
{{ 1 + }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(b=2) }}
{{ namespace().x.y }}
{{ list[0].x.y }}
"""

# Templates of several lines, for the spaces around tags.
SPACES = [
    "{% if yes %}\n  indented\n{% endif %}\nafter\n",
    "a\n  {% if yes %}  \nb\n  {% endif %}\nc",
    "a\n  {%- if yes -%}  \nb\n  {%- endif -%}\nc\n\n",
    "a\n  {%+ if yes +%}  \nb\n  {%+ endif +%}\nc",
    "  {{ number }}\n  {{- number }}\n{{ number -}}  \n x",
    "{# comment #}\n  {# indented #}\nx {# after #}\ny{#- tight -#}  z",
    "{% for i in list %}\n    {{ i }}\n{% endfor %}\n",
    "{% for i in list -%}\n    {{ i }}\n{%- endfor %}\n",
    "{%- for i in list %}\n    {{- i }}\n{%- endfor %}\n\n\n",
    "{% set x = 1 %}\n\n{% set y = 2 %}\n{{ x }}{{ y }}\n\n",
    "a\r\n{% if yes %}\r\nb\r\n{% endif %}\r\nc\rd",
    "\t{% if yes %}tab{% endif %}\n\u00a0{% if yes %}nbsp{% endif %}",
    "{% macro m(x) %}\n  <{{ x }}>\n{% endmacro %}\n{{ m(1) }}\n{{ m(2) }}",
    "{% generation %}\n  said\n{% endgeneration %}\nafter",
    "text {% raw %}\n {{ x }}\n{% endraw %}\nafter",
    "{{ 'a' }}\n",
    "{{ 'a' }}\n\n",
    "",
    "\n",
    "{% if yes %}\n{% endif %}\n",
    "{{- ' x ' -}}\n\n{{- ' y ' }}",
    "{%- if yes %}{{- 'a' }}{%- else %}{{- 'b' }}{%- endif %}",
    "{%- set parts = [] -%}\n{%- for i in list -%}\n  {%- set parts = parts + [i] -%}\n{%- endfor -%}\n{{ parts }}",
    "{{ {\n  'a': 1,\n  'b': [\n    2,\n  ],\n} }}",
    "{{ [1, 2,] }}{{ (1, 2,) }}{% set f = 'x' if yes\n else 'y' %}{{ f }}",
]


def templates():
    """All templates, those of one line and those of several."""
    blocks = [OUTPUT, OPERATORS, SLICES, STATEMENTS, FILTERS, JSON, TESTS, METHODS, ERRORS]
    lines = [line for block in blocks for line in block.strip("\n").split("\n")]
    return lines + SPACES
