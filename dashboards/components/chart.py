"""The price chart of the review page."""

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from trading_rlhf.services.review_views import Chart

__all__ = ["price_figure"]

UP, DOWN = "#0f8a68", "#c24a33"
MEAN, VOLUME, GRID = "#7a8290", "rgba(128,138,150,0.45)", "rgba(128,138,150,0.18)"
ENTRY = "#b07d10"


def price_figure(chart: Chart) -> go.Figure:
    """Draw the bars up to the decision, the mean, the entry and the level of the trade."""
    has_volume = chart.volume is not None
    figure = make_subplots(
        rows=2 if has_volume else 1,
        cols=1,
        shared_xaxes=True,
        row_heights=[0.8, 0.2] if has_volume else [1.0],
        vertical_spacing=0.03,
    )
    figure.add_trace(_prices(chart), row=1, col=1)
    figure.add_trace(_mean(chart), row=1, col=1)
    if has_volume:
        figure.add_trace(_volume(chart), row=2, col=1)
        figure.update_yaxes(title_text=chart.volume_title, nticks=4, row=2, col=1)
        figure.update_yaxes(tickformat=chart.volume_format, row=2, col=1)
    _add_levels(figure, chart)
    figure.update_layout(
        margin={"l": 4, "r": 4, "t": 6, "b": 4},
        showlegend=False,
        hovermode="x unified",
        xaxis_rangeslider_visible=False,
        dragmode=False,
        bargap=0.25,
    )
    figure.update_xaxes(
        tickvals=chart.ticks, ticktext=chart.tick_labels, gridcolor=GRID, fixedrange=True
    )
    figure.update_xaxes(range=chart.x_range, zeroline=False, unifiedhovertitle_text=" ")
    figure.update_yaxes(side="right", gridcolor=GRID, fixedrange=True, title_font_size=11)
    figure.update_yaxes(title_text=chart.price_title, row=1, col=1)
    figure.update_yaxes(tickformat=chart.price_format, row=1, col=1)
    return figure


def _prices(chart: Chart) -> go.Candlestick | go.Scatter:
    if chart.open is None:
        return go.Scatter(
            x=chart.x,
            y=chart.close,
            mode="lines",
            line={"width": 1.8, "color": UP},
            name="close",
            text=chart.labels,
            hovertemplate="%{text}<br>close %{y:.2f}<extra></extra>",
        )
    return go.Candlestick(
        x=chart.x,
        open=chart.open,
        high=chart.high,
        low=chart.low,
        close=chart.close,
        increasing={"line": {"color": UP, "width": 1}, "fillcolor": UP},
        decreasing={"line": {"color": DOWN, "width": 1}, "fillcolor": DOWN},
        name="price",
        text=chart.labels,
    )


def _mean(chart: Chart) -> go.Scatter:
    return go.Scatter(
        x=chart.x,
        y=chart.mean,
        mode="lines",
        line={"width": 1.3, "color": MEAN},
        name="20-bar mean",
        hovertemplate="%{y:.2f}",
    )


def _volume(chart: Chart) -> go.Bar:
    return go.Bar(x=chart.x, y=chart.volume, marker_color=VOLUME, name="volume")


def _add_levels(figure: go.Figure, chart: Chart) -> None:
    """Mark the decision, the close at which the trade is sized and the entry of the position.

    The names of the levels stand to the right of the decision, where there are no bars.
    """
    color = UP if chart.up else DOWN
    figure.add_vline(x=0.8, line_color=color, line_width=2)
    _add_level(figure, chart.last, color, "dot", chart.fill_label, above=chart.last_above)
    figure.add_annotation(
        x=1,
        xref="paper",
        y=chart.last,
        text=f"<b>{chart.last_label}</b>",
        showarrow=False,
        xanchor="left",
        bgcolor=color,
        borderpad=4,
        font={"size": 11, "color": "#ffffff"},
    )
    if chart.entry is not None:
        above = not chart.last_above
        _add_level(figure, chart.entry, ENTRY, "dash", "entry", above=above)
    figure.add_annotation(
        x=0,
        xref="paper",
        y=1,
        yref="paper",
        text="20-bar mean",
        showarrow=False,
        xanchor="left",
        yanchor="top",
        font={"size": 11, "color": MEAN},
    )


def _add_level(
    figure: go.Figure, level: float, color: str, dash: str, text: str, *, above: bool
) -> None:
    figure.add_hline(y=level, line_dash=dash, line_color=color, line_width=1, row=1, col=1)
    figure.add_annotation(
        x=1.6,
        y=level,
        text=text,
        showarrow=False,
        align="left",
        xanchor="left",
        yanchor="bottom" if above else "top",
        font={"size": 11, "color": color},
    )
