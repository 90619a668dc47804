"""The page that a report is written into."""

__all__ = ["PAGE"]

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ report.title }}</title>
<script>{{ plotly_js | safe }}</script>
<style>
body{font:15px/1.5 "Source Sans 3",system-ui,sans-serif;color:#1f2937;max-width:1040px;
margin:0 auto;padding:24px}
h1{font-size:26px;margin:0 0 8px}h2{font-size:18px;margin:32px 0 8px}
section>h2{font-size:21px;margin:44px 0 4px;padding-top:14px;border-top:2px solid #e5e7eb}
section h3{font-size:16px;margin:24px 0 4px}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:6px 10px;text-align:right;border-bottom:1px solid #e5e7eb}
td{white-space:nowrap}th:first-child,td:first-child{text-align:left}
thead th{color:#6b7280;font-weight:600;vertical-align:bottom}
section table{width:auto;min-width:50%}
.words td{white-space:normal;text-align:left}.words th{text-align:left}
.words td:first-child{white-space:nowrap}
.warn{background:#fdf3e7;border-left:4px solid #b07d12;padding:8px 14px;margin:8px 0}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:10px;margin:16px 0}
.tiles div{border:1px solid #e5e7eb;border-radius:8px;padding:10px 14px}
.tiles span{display:block;color:#6b7280;font-size:13px}
.tiles b{display:block;font-size:23px;font-weight:600;font-variant-numeric:tabular-nums}
.summary p:first-child{font-size:18px}
.contents{color:#6b7280;font-size:14px}.contents a{color:#0f6e56;margin-right:14px}
.note{color:#6b7280;font-size:13px}.scroll{overflow-x:auto}
dl{display:grid;grid-template-columns:max-content 1fr;gap:2px 18px}dt{color:#6b7280}dd{margin:0}
@media print{.contents{display:none}section{break-inside:avoid-page}}
</style></head><body>
{% macro show_table(table) %}
<div class="scroll"><table{% if table.frame.columns | length == 1 %} class="words"{% endif %}>
<thead><tr><th>{{ table.frame.index.name or "" }}</th>
{% for column in table.frame.columns %}<th>{{ column }}</th>{% endfor %}</tr></thead><tbody>
{% for name, row in table.frame.iterrows() %}<tr><td>{{ name }}</td>
{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>
{% endfor %}</tbody></table></div>
{% endmacro %}
{% macro show_part(part) %}
{% if plot_html(part) %}{{ plot_html(part) | safe }}{% else %}{{ show_table(part) }}{% endif %}
{% if part.note %}<p class="note">{{ part.note }}</p>{% endif %}
{% endmacro %}
<h1>{{ report.title }}</h1>
<div class="summary">{% for line in report.summary %}<p>{{ line }}</p>{% endfor %}</div>
{% if report.tiles %}<div class="tiles">{% for tile in report.tiles %}
<div><span>{{ tile.label }}</span><b>{{ tile.value }}</b><span>{{ tile.note }}</span></div>
{% endfor %}</div>{% endif %}
{% for line in report.warnings %}<p class="warn">{{ line }}</p>{% endfor %}
{% for part in report.tables + report.plots %}<h2>{{ part.title }}</h2>{{ show_part(part) }}
{% endfor %}
{% if report.sections %}<nav class="contents">{% for section in report.sections %}
<a href="#part-{{ loop.index }}">{{ section.title }}</a>{% endfor %}</nav>{% endif %}
{% for section in report.sections %}<section id="part-{{ loop.index }}"><h2>{{ section.title }}</h2>
{% for line in section.lines %}<p>{{ line }}</p>{% endfor %}
{% for part in section.parts %}{% if part.title %}<h3>{{ part.title }}</h3>{% endif %}
{{ show_part(part) }}{% endfor %}</section>
{% endfor %}
<h2>What this rests on</h2><dl>
{% for label, value in report.facts %}<dt>{{ label }}</dt><dd>{{ value }}</dd>{% endfor %}</dl>
</body></html>
"""
