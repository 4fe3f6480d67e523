"""The mistakes that are planted in a `Port`, each with the id by which it has to be named."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest


@dataclass(frozen=True)
class Plant:
    """Flaws of a `Port`, and the id by which diagnosis has to name them.

    needs: "square" (I = H), "layers" (two at least), "state" (that is seen and set), "even" (I is).
    """

    id: str
    flaws: dict = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    label: str = ""

    def fits(self, inputs, units, layers, hidden):
        have = {
            "square": inputs == units,
            "layers": layers > 1,
            "state": not hidden,
            "even": inputs % 2 == 0,
        }
        return all(have[need] for need in self.needs)

    def __str__(self):
        return self.label or self.id


def grid(plants, shapes, every):
    """Each plant with each shape and view that it fits: (plant, shape, hidden).

    Of each plant one in so many is quick, others in turns, so that shapes and views take part
    alike; the rest is slow.
    """
    for number, plant in enumerate(plants):
        both = [(shape, hidden) for shape in shapes for hidden in (False, True)]
        fits = [one for one in both if plant.fits(*one[0], one[1])]
        quick = {(number + n) % len(fits) for n in range(0, len(fits), every)}
        for n, (shape, hidden) in enumerate(fits):
            yield pytest.param(
                *(plant, shape, hidden),
                id=f"{plant}-{shape}-{'outputs' if hidden else 'state'}",
                marks=[] if n in quick else [pytest.mark.slow],
            )


ORDERS = [
    a + b + c + d
    for a in "ifgo"
    for b in "ifgo"
    for c in "ifgo"
    for d in "ifgo"
    if len({a, b, c, d}) == 4 and a + b + c + d != "ifgo"
]


PLANTS = [
    *(Plant(f"gate_order:{order}", {"gate_order": order}) for order in ORDERS),
    Plant("gate_order:iofg:matrices", {"gate_order": "iofg", "bias_gate_order": "ifgo"}),
    Plant("gate_order:igfo:biases", {"bias_gate_order": "igfo"}),
    *(
        Plant(f"bias:{name}", {"bias": name})
        for name in (
            "none",
            "only_b_ih",
            "only_b_hh",
            "twice",
            "b_ih_twice",
            "b_hh_twice",
            "b_ih_for_both",
        )
    ),
    Plant("forget_bias:+1", {"forget_bias": 1.0}),
    Plant("forget_bias:-1", {"forget_bias": -1.0}),
    Plant("forget_bias:twice", {"forget_twice": True}),
    Plant("forget_bias:0.7", {"forget_bias": 0.7}),
    Plant("transposed:w_ih", {"transpose": {"w_ih": "gates"}}),
    Plant("transposed:w_hh", {"transpose": {"w_hh": "gates"}}),
    Plant("transposed:w_ih_w_hh", {"transpose": {"w_ih": "gates", "w_hh": "gates"}}),
    Plant("transposed:w_ih:whole", {"transpose": {"w_ih": "whole"}}),
    Plant("transposed:w_hh:whole", {"transpose": {"w_hh": "whole"}}),
    Plant("swapped:w_ih_w_hh", {"swap_matrices": True}),
    Plant("tanh_missing:output", {"no_tanh": True}),
    Plant("tanh_missing:input", {"g": "linear"}),
    Plant("sigmoid_for_tanh", {"g": "gate"}),
    *(Plant(f"hard_sigmoid:{slope}", {"gate": slope}) for slope in ("0.2", "1/6", "0.5")),
    *(
        Plant(f"not_carried:{part}", {when: part}, label=f"not_carried:{part}-{when}")
        for part in ("h", "c", "hc")
        for when in ("drop_before", "drop_after")
    ),
    *(Plant(f"carried_over_reset:{part}", {"leak": part}) for part in ("h", "c", "hc")),
    Plant("carried_over_reset:hc@layer1", {"leak": "hc", "leak_layers": (1,)}, ("layers",)),
    Plant("h_c_swapped:output", {"swap_output": True}),
    Plant("h_c_swapped:shown", {"swap_shown": True}, ("state",)),
    Plant("h_c_swapped:start", {"swap_start": True}, ("state",)),
    *(Plant(f"not_set:{part}", {"not_set": part}, ("state",)) for part in ("h", "c", "hc")),
    Plant("h_c_swapped:carried", {"swap_carried": True}),
    Plant("h_in_place", {"in_place": True}),
    Plant("one_step_late", {"late_output": True}),
    Plant("one_step_late:input", {"late_frame": True}),
    Plant(
        "one_step_late:input",
        {"late_frame": True, "late_frame_kept": True},
        label="one_step_late:input-kept",
    ),
    Plant("one_step_late:layers", {"stale_layers": True}, ("layers",)),
    Plant("layer_missing:last", {"layers": (0,)}, ("layers",)),
    Plant("layer_repeated:first", {"layers": (0, 0)}, ("layers", "square")),
    Plant("layer_repeated:last", {"layers": (1, 1)}, ("layers", "square")),
    Plant("layer_order", {"layers": (1, 0)}, ("layers", "square")),
    Plant("gate_order:iofg@layer1", {"gate_order": "iofg", "only_layer": 1}, ("layers",)),
    Plant("scale:output:0.5", {"output_gain": 0.5}),
]

BOTH = ("layers", "square")

# What issue 20 names, and the same kinds.
LATER = [
    *(
        Plant(f"{name}:{bound:g}", {name: bound}, label=f"{name}:{bound:g}")
        for name, bounds in (
            ("cell_clip", (0.3, 3.0, 10.0)),
            ("input_clip", (1.5, 5.0, 50.0)),
            ("gate_clip", (1.2, 5.0)),
            ("h_clip", (0.2, 0.9)),
        )
        for bound in bounds
    ),
    Plant("cell_clip:4.7", {"cell_clip": 4.7}),
    *(
        Plant(f"state_rounded:{how}:{parts}", {"kept": how, "kept_parts": parts} | more, label=name)
        for how in ("float16", "bfloat16")
        for parts in ("h", "c", "hc")
        for name, more in (
            (f"{how}:{parts}", {}),
            (f"{how}:{parts}-h late", {"kept_h_late": True}),
            (f"{how}:{parts}-c early", {"kept_c_early": True}),
        )
        if ("late" not in name or "h" in parts) and ("early" not in name or "c" in parts)
    ),
    Plant("output_rounded:float16", {"output_kept": "float16"}),
    Plant("input_rounded:bfloat16", {"input_kept": "bfloat16"}),
    Plant("zoneout:0.1", {"zone_h": 0.1, "zone_c": 0.1}),
    Plant("zoneout:h,c:0.05,0.5", {"zone_h": 0.05, "zone_c": 0.5}),
    Plant("zoneout:h:0.15", {"zone_h": 0.15}),
    Plant("zoneout:c:0.3", {"zone_c": 0.3}),
    Plant("zoneout:0.2", {"zone_h": 0.2, "zone_c": 0.2, "zone_h_late": True}, label="zoneout-late"),
    Plant("zoneout:c:0.25", {"zone_c": 0.25, "zone_c_early": True}, label="zoneout-early"),
    *(
        Plant(f"rational_tanh:{name}", {"tanh": name}, label=f"tanh {name}")
        for name in ("27/9", "pade_7/6", "vaneev")
    ),
    Plant("rational_tanh:27/9:g", {"tanh_g": "27/9"}),
    Plant("rational_tanh:27/9:output", {"tanh_c": "27/9"}),
    Plant("rational_tanh:27/9:gates", {"tanh": "27/9", "gate": "ratio"}),
    Plant("exp_is:schraudolph", {"tanh": "schraudolph", "gate": "schraudolph"}),
    Plant("sigmoid_is:schraudolph", {"gate": "schraudolph"}),
    Plant("tanh_is:softsign", {"tanh": "softsign"}),
    Plant("tanh_is:hard", {"tanh": "hard"}),
    Plant("sigmoid_is:softsign", {"gate": "softsign"}),
    Plant("sigmoid_is:tanh:o", {"gates": {"o": "tanh"}}),
    *(
        Plant(f"hard_sigmoid:{slope}:{gate}", {"gates": {gate: slope}})
        for gate in "ifo"
        for slope in ("0.2", "1/6")
    ),
    Plant("hard_sigmoid:0.2:if", {"gates": {"i": "0.2", "f": "0.2"}}),
    Plant("old_c:output", {"old_c": True}),
    *(
        Plant(f"reset_by_timer:{steps}" + more, {"timer": steps} | options)
        for steps, more, options in (
            (5, "", {}),
            (20, "", {}),
            (30, "", {}),
            (7, ":c", {"timer_parts": "c"}),
        )
    ),
    Plant("reset_by_timer:60", {"timer": 60, "timer_counts_on": True}, label="timer counts on"),
    Plant("layer_states_swapped:carried", {"take_of": (1, 0)}, ("layers",)),
    Plant("layer_states_swapped:carried:h", {"take_of": (1, 0), "take_parts": "h"}, ("layers",)),
    Plant("layer_states_swapped:carried:c", {"take_of": (1, 0), "take_parts": "c"}, ("layers",)),
    Plant("layer_states_swapped:shown", {"layers_shown_turned": True}, ("layers", "state")),
    Plant("layer_states_swapped:start", {"layers_start_turned": True}, ("layers", "state")),
    Plant("layer_states_of:first", {"take_of": (0, 0)}, ("layers",)),
    *(
        Plant(
            "layer_states_shared" + ("" if part == "hc" else f":{part}"),
            {"shared": part},
            ("layers",),
        )
        for part in ("hc", "h", "c")
    ),
    Plant("residual:layer1", {"residual": (1,)}, ("layers",)),
    Plant("residual:layer1:carried", {"residual": (1,), "residual_kept": True}, ("layers",)),
    Plant("residual:layer1:0.7", {"residual": (1,), "residual_gain": 0.7}, ("layers",)),
    Plant("residual:layer0", {"residual": (0,)}, ("square",)),
    Plant("residual:layers0-1", {"residual": (0, 1)}, BOTH),
    Plant("residual:frame", {"add_frame": True}, BOTH),
    Plant("scale:between:0.8", {"between": 0.8}, ("layers",)),
    Plant("cell_clip:0.25@layer0", {"cell_clip": 0.25, "only_layer": 0}, ("layers",)),
    Plant("zoneout:0.1@layer1", {"zone_h": 0.1, "zone_c": 0.1, "only_layer": 1}, ("layers",)),
    Plant("state_rounded:bfloat16:hc@layer1", {"kept": "bfloat16", "only_layer": 1}, ("layers",)),
]

# An int8 implementation that is right but for a scale.
INT8 = [
    Plant("int8_scale:h/128", {"int8": {"h_scale": 1 / 128}}),
    Plant("int8_scale:x/128", {"int8": {"x_gain": 127 / 128}}),
    Plant("int8_scale:per_tensor", {"int8": {"per_tensor": True}}),
    Plant("int8_scale:w_hh:127", {"int8": {"h_scale": 1.0}}),
    Plant("int8_scale:w_hh:0.9", {"int8": {"h_scale": 0.9 / 127}}),
]
