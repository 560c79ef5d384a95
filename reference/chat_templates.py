"""Makes tests/data/chat/rendered.json: texts that chat templates of transformers make of conversations.

    python reference/chat_templates.py --out tests/data/chat

The templates are written for this in the styles of models in use; constructs of the language
stand in chat_constructs.py.
"""

from __future__ import annotations

import argparse
import json
from datetime import datetime
from pathlib import Path

import chat_constructs
import transformers
from transformers.utils import chat_template_utils

TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}
TEMPLATES: dict[str, str] = {
    "chatml": """{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<|im_end|>' + '\\n' }}
{%- endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}""",
    "inst": """{% if messages[0].role == 'system' %}{% set rest = messages[1:] %}{% set system = messages[0].content %}
{% else %}{% set rest = messages %}{% set system = false %}{% endif %}
{% for m in rest %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}
{{ raise_exception('roles must take turns, got ' + m.role) }}{% endif %}
{% if loop.index0 == 0 and system != false %}{% set said = '<<SYS>>\\n' ~ system ~ '\\n<</SYS>>\\n\\n' ~ m.content %}
{% else %}{% set said = m.content %}{% endif %}
{% if m.role == 'user' %}{{ bos_token ~ '[INST] ' ~ said.strip() ~ ' [/INST]' }}
{% elif m.role == 'assistant' %}{{ ' ' ~ said.strip() ~ ' ' ~ eos_token }}{% endif %}{% endfor %}""",
    "headers": """{{- bos_token }}
{%- if not date is defined %}{% set date = strftime_now('%d %b %Y') %}{% endif %}
{%- if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] | trim %}{% set messages = messages[1:] %}
{%- else %}{% set system = '' %}{% endif %}
<|head|>system<|/head|>

Today: {{ date }}
{{ system }}{% if tools is not none %}

Tools:
{%- for t in tools %}

{{ t | tojson(indent=4) }}{% endfor %}{% endif %}<|eot|>
{%- for m in messages %}{% if not (m.role == 'tool' or 'tool_calls' in m) %}
{{- '<|head|>' + m.role + '<|/head|>\\n\\n' + m.content | trim + '<|eot|>' }}
{%- elif 'tool_calls' in m %}{% if m.tool_calls | length != 1 %}{{ raise_exception('one call at a time') }}{% endif %}
{%- set call = m.tool_calls[0].function %}<|head|>assistant<|/head|>

{"name": "{{ call.name }}", "parameters": {{ call.arguments | tojson }}}<|eot|>
{%- else %}<|head|>tool<|/head|>

{% if m.content is mapping or (m.content is iterable and m.content is not string) %}{{ m.content | tojson }}
{%- else %}{{ m.content }}{% endif %}<|eot|>{% endif %}{% endfor %}
{%- if add_generation_prompt %}{{ '<|head|>assistant<|/head|>\\n\\n' }}{% endif %}""",
    "turns": """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system role') }}{% endif %}
{% for message in messages %}{% if message['role'] == 'assistant' %}{% set role = 'model' %}{% else %}
{% set role = message['role'] %}{% endif %}{{ '<turn>' + role + '\\n' + message['content'] | trim + '</turn>\\n' }}
{% endfor %}{% if add_generation_prompt %}{{ '<turn>model\\n' }}{% endif %}""",
    "thinking": """{%- if tools %}{{- '<|s|>system\\n# Tools\\n<tools>' }}{% for t in tools %}{{ '\\n' }}{{ t | tojson }}
{%- endfor %}{{- '\\n</tools><|e|>\\n' }}{% endif %}
{%- set ns = namespace(last=messages | length - 1, searching=true) %}
{%- for message in messages[::-1] %}{% set index = messages | length - 1 - loop.index0 %}
{%- if ns.searching and message.role == 'user' and message.content is string %}
{%- set ns.searching = false %}{% set ns.last = index %}{% endif %}{% endfor %}
{%- for message in messages %}{% if message.role == 'user' or message.role == 'system' %}
{{- '<|s|>' + message.role + '\\n' + message.content + '<|e|>\\n' }}
{%- elif message.role == 'assistant' %}{% set content = message.content if message.content is string else '' %}
{%- set reasoning = '' %}
{%- if message.reasoning_content is string %}{% set reasoning = message.reasoning_content %}
{%- elif '</think>' in content %}
{%- set reasoning = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
{%- set content = content.split('</think>')[-1].lstrip('\\n') %}{% endif %}
{%- if loop.index0 > ns.last and (loop.last or reasoning) %}
{{- '<|s|>assistant\\n<think>\\n' + reasoning.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
{%- else %}{{- '<|s|>assistant\\n' + content }}{% endif %}
{%- for call in message.tool_calls or [] %}{% if loop.first and content or not loop.first %}{{ '\\n' }}{% endif %}
{%- if call.function %}{% set call = call.function %}{% endif %}
{{- '<call>{"name": "' }}{{ call.name }}{{ '", "arguments": ' }}
{%- if call.arguments is string %}{{ call.arguments }}{% else %}{{ call.arguments | tojson }}{% endif %}}</call>
{%- endfor %}{{- '<|e|>\\n' }}
{%- elif message.role == 'tool' %}
{%- if loop.first or messages[loop.index0 - 1].role != 'tool' %}{{ '<|s|>user' }}{% endif %}
{{- '\\n<result>\\n' }}{{ message.content }}{{ '\\n</result>' }}
{%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}{{ '<|e|>\\n' }}{% endif %}{% endif %}{% endfor %}
{%- if add_generation_prompt %}{{- '<|s|>assistant\\n' }}
{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{% endif %}{% endif %}""",
    "zephyr": """{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>\\n'  + message['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}""",
    "phi": """{% for m in messages %}{{ '<|' + m.role + '|>' + '\\n' + m.content + '<|end|>\\n' }}{% endfor %}
{{- '<|assistant|>\\n' if add_generation_prompt else eos_token }}""",
    "alternating": """{%- set loop_messages = messages %}{% if messages[0].role == 'system' %}
{%- set system = messages[0].content %}{% set loop_messages = messages[1:] %}{% endif %}
{%- set users = loop_messages | selectattr('role', 'equalto', 'user') | list %}{{ bos_token }}
{%- for m in loop_messages | rejectattr('role', 'in', ['tool']) %}
{%- if m.role == 'user' %}{% if tools and m == users[-1] %}{{ '[TOOLS] [' }}{% for t in tools %}{% set f = t.function %}
{{- '{"type": "function", "function": {' }}{% for k, v in f.items() if k != 'return' %}
{%- if v is string %}{{ '"' + k + '": "' + v + '"' }}{% else %}{{ '"' + k + '": ' + v | tojson }}{% endif %}
{%- if not loop.last %}, {% endif %}{% endfor %}}}{% if not loop.last %}, {% else %}][/TOOLS]{% endif %}{% endfor %}{% endif %}
{{- '[INST] ' }}{% if loop.last and system is defined %}{{ system + '\\n\\n' }}{% endif %}{{ m.content + '[/INST]' }}
{%- elif m.tool_calls is defined and m.tool_calls is not none %}{{ '[CALLS] [' }}{% for c in m.tool_calls %}
{%- set out = c.function | tojson %}{{ out[:-1] }}{% if c.id is defined %}{{ ', "id": "' + c.id + '"' }}{% endif %}}
{%- if not loop.last %}, {% endif %}{% endfor %}]{{ eos_token }}
{%- elif m.role == 'assistant' %}{{ ' ' + m.content | trim + eos_token }}
{%- else %}{{ raise_exception('unknown role: ' ~ m.role) }}{% endif %}{% endfor %}""",
    "documents": """{{ bos_token }}{% for m in messages %}<{{ m.role | upper }}>{{ m.content }}</{{ m.role | upper }}>
{% endfor %}{% if documents %}<RESULTS>
{% for document in documents %}
Document: {{ loop.index0 }}
{% for key, value in document.items() %}{{ key | capitalize }}: {{ value }}
{% endfor %}{% if not loop.last %}---
{% endif %}{% endfor %}</RESULTS>{% endif %}{% if add_generation_prompt %}<CHATBOT>{% endif %}""",
    "parts": """{% for m in messages %}{% if loop.first and m.role != 'system' %}<|s|>system
You are helpful.<|e|>
{% endif %}<|s|>{{ m.role }}
{% if m.content is string %}{{ m.content }}<|e|>
{% else %}{% for part in m.content %}{% if part.type == 'image' or 'image' in part or 'image_url' in part %}
{%- if with_numbers %}Picture {{ loop.index }}: {% endif %}<image>
{%- elif 'text' in part %}{{ part.text }}{% endif %}{% endfor %}<|e|>
{% endif %}{% endfor %}{% if add_generation_prompt %}<|s|>assistant
{% endif %}""",
    "macros": """{%- macro type_of(spec) -%}{%- if spec.type == 'array' -%}{{ type_of(spec['items'] or {}) }}[]
{%- elif spec.enum is defined -%}{{ spec.enum | map('tojson') | join(' | ') }}
{%- elif spec.type is iterable and spec.type is not string -%}{{ spec.type | join(' | ') }}
{%- elif spec.type == 'object' -%}{{ '{' }}{% for k, v in (spec.properties or {}).items() %}{{ k }}
{{- '' if k in (spec.required or []) else '?' }}: {{ type_of(v) }}{{ ', ' if not loop.last }}{% endfor %}{{ '}' }}
{%- else -%}{{ spec.type or 'any' }}{%- endif -%}{%- endmacro -%}
{%- if tools %}namespace functions {
{% for tool in tools %}{% set f = tool.function %}
// {{ f.description | default('-') }}
type {{ f.name }} = (_: {{ type_of(f.parameters) }}) => any;
{% endfor %}}
{% endif %}{% for m in messages %}[{{ m.role }}]{% if m.thinking %}({{ m.thinking }}){% endif %}{{ m.content or '' }}
{% endfor %}{{ '[assistant]' if add_generation_prompt }}""",
    "generation": """{% for m in messages %}{% if m.role == 'assistant' %}{% generation %}
A: {{ m.content }}{{ eos_token }}
{% endgeneration %}{% else %}
{{ m.role[0] | upper }}: {{ m.content }}
{% endif %}{% endfor %}{% if add_generation_prompt %}
A:{% endif %}""",
    "falcon": """{% for m in messages %}{% if not loop.first %}{{ '\\n' }}{% endif %}{{ m.role.title() }}: {{ m.content | trim
| replace('\\r\\n', '\\n') | replace('\\n\\n', '\\n') }}{% endfor %}{{ '\\nAssistant:' if add_generation_prompt }}""",
    "granite": """{%- if messages[0].role == 'system' %}{% set system = messages[0].content %}{% set loop_messages = messages[1:] %}
{%- else %}{% set system = 'Today is ' + strftime_now('%B %d, %Y') + '.' %}{% set loop_messages = messages %}{% endif %}
{{- '<|r|>system<|/r|>' + system + '<|t|>\\n' }}{% if documents %}{{ '<|r|>documents<|/r|>' }}{% for d in documents %}
{{- '\\n' if not loop.first }}{{ 'Document ' ~ (d.id or loop.index) ~ '\\n' ~ d.text }}{% endfor %}{{ '<|t|>\\n' }}{% endif %}
{%- if tools %}{{ '<|r|>tools<|/r|>' + (tools | tojson(indent=4)) + '<|t|>\\n' }}{% endif %}
{%- for m in loop_messages %}{{ '<|r|>' + m.role + '<|/r|>' + (m.content if m.content is string else '') + '<|t|>\\n' }}
{%- if loop.last and add_generation_prompt %}{{ '<|r|>assistant' }}{% if controls %}{{ ' ' + controls | tojson }}{% endif %}
{{- '<|/r|>' }}{% endif %}{% endfor %}""",
    "olmo": """{{ bos_token }}{% for m in messages %}{% if m['role'] == 'system' %}{{ '<|system|>\\n' + m['content'] + '\\n' }}
{% elif m['role'] == 'user' %}{{ '<|user|>\\n' + m['content'] + '\\n' }}{% elif m['role'] == 'assistant' %}
{% if not loop.last %}{{ '<|assistant|>\\n' + m['content'] + eos_token + '\\n' }}{% else %}
{{ '<|assistant|>\\n' + m['content'] + eos_token }}{% endif %}{% endif %}
{% if loop.last and add_generation_prompt %}{{ '<|assistant|>\\n' }}{% endif %}{% endfor %}""",
    "smol": """{% for m in messages %}{% if loop.first and messages[0]['role'] != 'system' %}
{{ '<|s|>system\\nA small helper<|e|>\\n' }}{% endif %}
{{'<|s|>' + m['role'] + '\\n' + m['content'] + '<|e|>' + '\\n'}}{% endfor %}""",
    "deep": """{%- if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}
{%- set ns = namespace(is_first=false, is_tool=false, system='', parts=[]) %}
{%- for m in messages %}{% if m['role'] == 'system' %}{% set ns.system = ns.system ~ m['content'] %}{% endif %}{% endfor %}
{{- bos_token }}{{ ns.system }}{% for m in messages %}{% if m['role'] == 'user' %}{% set ns.is_tool = false %}
{{- '<U>' + m['content'] }}{% endif %}{% if m['role'] == 'assistant' and m['content'] is not none %}
{%- if m['tool_calls'] is defined %}{% continue %}{% endif %}{% set content = m['content'] %}
{%- if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}
{{- '<A>' + content + eos_token }}{% endif %}{% if m.role == 'tool' %}{% set ns.parts = ns.parts + [m.content] %}
{%- set ns.is_tool = true %}{% endif %}{% if ns.parts | length > 3 %}{% break %}{% endif %}{% endfor %}
{%- if ns.is_tool %}{{ '<T>' ~ ns.parts | join('<sep>') }}{% endif %}
{%- if add_generation_prompt and not ns.is_tool %}{{ '<A>' }}{% endif %}""",
    "listing": """{% for m in messages %}{{ loop.index }}/{{ loop.length }} {{ m }}
{% endfor %}{{ tools }} {{ documents }} {{ add_generation_prompt }} {{ extra | default('-') }} {{ bos_token }}""",
    "yaml": """{% for m in messages %}
- role: {{ m.role }}
  content: |
{{ m.content | string | indent(4, true) }}
{% endfor %}
{% if tools %}tools: {{ tools | map(attribute='function') | map(attribute='name') | sort | join(', ') }}
{% endif %}
words: {{ messages | map(attribute='content') | select('string') | map('length') | sum }}""",
    "strict": """{% set known = ['system', 'user', 'assistant'] %}{% for m in messages if m.role in known -%}
{{ m.role[:1] }}{{ '>' * loop.index }}{{ m.content | trim | e }}{{ loop.cycle(';', '|') }}
{%- else -%}{{ raise_exception('nobody speaks: ' + messages | map(attribute='role') | join(', ')) }}{%- endfor %}""",
}

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "The weather of a place, \"now\" & <soon>",
        "parameters": {
            "type": "object",
            "properties": {
                "place": {"type": "string", "description": "Where? Zürich, 東京"},
                "unit": {"type": "string", "enum": ["°C", "°F"]},
                "days": {"type": ["integer", "null"], "default": None, "minimum": 0.5},
                "tags": {"type": "array", "items": {"type": "array", "items": {"type": "number"}}},
            },
            "required": ["place"],
            "additionalProperties": False,
        },
        "return": {"type": "object"},
    },
}
CLOCK = {"type": "function", "function": {"name": "clock", "parameters": {"type": "object", "properties": {}}}}
CALL = {"type": "function", "id": "abc123", "function": {"name": "weather", "arguments": {"place": "東京", "days": 2.0}}}


def says(*turns: tuple) -> list[dict]:
    return [{"role": role, "content": content, **(rest[0] if rest else {})} for role, content, *rest in turns]


CONVERSATIONS: dict[str, dict] = {
    "plain": {"messages": says(("user", "Hello!"))},
    "prompted": {"messages": says(("user", "Hello!")), "add_generation_prompt": True},
    "system": {
        "messages": says(("system", "  Be brief. "), ("user", "Hi\n"), ("assistant", " Hey "), ("user", "Why?")),
        "add_generation_prompt": True,
    },
    "scripts": {
        "messages": says(("user", "👩‍👩‍👧 e\u0301 שלום مرحبا 你好 \u200f ñ"), ("assistant", "日本語\u3000です 🇨🇭"))
    },
    "escapes": {
        "messages": says(("user", "\"a\" 'b' \\n <b>&amp;</b> {{ x }} {% if %} \t|\u00a0|\r\n\n\nend\u2028\x07"))
    },
    "empty": {"messages": says(("user", ""), ("assistant", ""), ("user", " \n ")), "add_generation_prompt": True},
    "thought": {
        "messages": says(
            ("user", "2+2?"),
            ("assistant", "<think>\nfour?\n</think>\n\n4"),
            ("user", "And 3+3?"),
            ("assistant", "6", {"reasoning": "\nsix\n"}),
        ),
        "enable_thinking": False,
    },
    "tools": {
        "messages": says(("user", "Weather in 東京?")),
        "tools": [WEATHER, CLOCK],
        "add_generation_prompt": True,
    },
    "called": {
        "messages": [
            *says(("system", "Use tools."), ("user", "Weather?")),
            {"role": "assistant", "content": None, "tool_calls": [CALL]},
            *says(("tool", "{\"t\": 21.5, \"ok\": true}"), ("assistant", "21.5 °C"), ("user", "Thanks")),
        ],
        "tools": [WEATHER],
    },
    "documents": {
        "messages": says(("user", "Who?")),
        "documents": [{"title": "A \"quoted\"", "text": "one\ntwo"}, {"id": 7, "text": "é", "score": 1e-7, "x": None}],
        "add_generation_prompt": True,
        "controls": {"length": "short", "n": 3},
    },
    "parts": {
        "messages": says(
            ("user", [{"type": "image"}, {"type": "text", "text": "What is <this>?"}, {"type": "image", "url": "u"}]),
            ("assistant", [{"type": "text", "text": "It's \"x\"."}]),
        ),
        "with_numbers": True,
    },
    "values": {
        "messages": [{"role": "user", "content": "x", "n": 1, "f": 2.0, "big": 1e20, "t": True, "l": [None, {"k": -0.5}]}],
        "extra": {"a": [1, "b"]},
        "bos_token": "<bos>",
    },
    "continued": {
        "messages": says(("user", "Count."), ("assistant", "One, two, ")),
        "continue_final_message": True,
    },
    "continued-parts": {
        "messages": says(("user", "Count."), ("assistant", [{"type": "text", "text": "One, two"}])),
        "continue_final_message": True,
    },
    "two-users": {"messages": says(("user", "a"), ("user", "b"))},
    "stranger": {"messages": says(("narrator", "Once upon a time"))},
}


class Noon(datetime):
    """The day on which templates ask for the date."""

    @classmethod
    def now(cls, tz=None):
        return cls(2024, 7, 26, 12, 0, 0, tzinfo=tz)


def rendered(name: str, conversation: dict) -> dict:
    """What one template makes of one conversation."""
    options = {**TOKENS, **conversation}
    # As apply_chat_template does before it renders.
    messages = [{k: v for k, v in m.items() if v is not None} for m in options.pop("messages")]
    try:
        texts, _ = chat_template_utils.render_jinja_template([messages], chat_template=TEMPLATES[name], **options)
    except Exception as error:
        return {"error": str(error) if type(error).__name__ == "TemplateError" else None}
    return {"text": texts[0]}


def construct(source: str) -> dict:
    """What a template of one construct writes."""
    try:
        text = chat_template_utils._compile_jinja_template(source).render(**chat_constructs.VARIABLES)
    except Exception as error:
        return {"template": source, "error": type(error).__name__}
    return {"template": source, "text": text}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    chat_template_utils.datetime = Noon
    write = {
        "rendered.json": {
            "transformers": transformers.__version__,
            "tokens": TOKENS,
            "templates": TEMPLATES,
            "conversations": CONVERSATIONS,
            "rendered": {t: {c: rendered(t, CONVERSATIONS[c]) for c in CONVERSATIONS} for t in TEMPLATES},
        },
        "constructs.json": {
            "variables": chat_constructs.VARIABLES,
            "constructs": [construct(source) for source in chat_constructs.templates()],
        },
    }
    for name, data in write.items():
        (out / name).write_text(json.dumps(data, ensure_ascii=False, indent=0) + "\n")


if __name__ == "__main__":
    main()
