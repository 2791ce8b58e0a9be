"""The hook for PPO and GRPO, on the real experiences, replay buffer and policy loss, and the real maker's advantages.

vLLM and GPUs are not here, so no rollout is made: the maker is OpenRLHF's own source, without its launcher's import.
"""

import importlib.util
import itertools
from pathlib import Path
from types import SimpleNamespace as Space

import pytest
import torch
from counterpoise_adapters.openrlhf import RobustConfig, attach, weigh_experiences
from openrlhf.models import PolicyLoss
from openrlhf.trainer.ppo_utils import Experience, make_experience_batch, split_experience_batch

import counterpoise as cp

SAMPLES, PROMPTS, ACTIONS = 4, 3, 5
ORDER = [7, 2, 9, 0, 4, 11, 1, 3, 10, 5, 8, 6]  # ranks shuffle experiences


def real_maker(estimator="group_norm"):
    folder = Path(importlib.util.find_spec("openrlhf").origin).parent
    source = (folder / "trainer" / "ppo_utils" / "experience_maker.py").read_text()
    line = "from openrlhf.trainer.ray.launcher import RayActorGroup\n"  # imports vLLM; names a type
    assert source.count(line) == 1
    names = {"__name__": "experience_maker"}
    exec(compile(source.replace(line, "RayActorGroup = object\n"), "experience_maker.py", "exec"), names)
    args = Space(
        rollout=Space(n_samples_per_prompt=SAMPLES), reward=Space(clip_range=(-10.0, 10.0)),
        algo=Space(advantage=Space(estimator=estimator, gamma=1.0, lambd=1.0, no_std_norm=False)),
    )  # fmt: skip
    return names["RemoteExperienceMaker"](None, None, None, None, Space(value=0.0), Space(args=args), None)


def experiences(seed=0, sizes=(4, 2, 6), **info):
    generator = torch.Generator().manual_seed(seed)
    rewards = torch.rand(SAMPLES * PROMPTS, generator=generator) + torch.arange(PROMPTS).repeat_interleave(SAMPLES)
    made, start = [], 0
    for size in sizes:
        index = ORDER[start : start + size]
        log_probs = -torch.rand(size, ACTIONS, generator=generator)
        mask = torch.ones(size, ACTIONS, dtype=torch.bool)
        mask[0, 3:] = False
        made.append(
            Experience(
                sequences=torch.randint(9, (size, ACTIONS + 2), generator=generator),
                attention_mask=torch.ones(size, ACTIONS + 2, dtype=torch.long),
                action_mask=mask, action_log_probs=log_probs, rollout_log_probs=log_probs.clone(),
                kl=torch.zeros(size, ACTIONS), rewards=rewards[index], index=list(index),
                response_length=mask.sum(1).float(), total_length=mask.sum(1).float() + 2,
                truncated=torch.zeros(size), info={k: torch.as_tensor(v)[index] for k, v in info.items()},
            )
        )  # fmt: skip
        start += size
    return made, rewards


def by_hand(rewards, penalty, over):
    losses = -rewards.double()
    if over == "prompt":
        losses = losses.reshape(PROMPTS, SAMPLES).mean(1)
    weights = len(losses) * torch.softmax(losses / penalty, 0)
    return weights.repeat_interleave(SAMPLES) if over == "prompt" else weights


@pytest.mark.parametrize("estimator", ["group_norm", "rloo", "reinforce_baseline", "dr_grpo"])
@pytest.mark.parametrize("over", ["prompt", "sample"])
def test_advantages_are_scaled_by_the_weights_of_the_whole_batch(over, estimator):
    plain, rewards = experiences()
    stock = real_maker(estimator).compute_advantages_and_returns(plain)
    maker = real_maker(estimator)
    attached = attach(maker, RobustConfig("kl_dro", penalty=0.5, scope="world"), over=over)
    ours = maker.compute_advantages_and_returns(experiences()[0])
    weights = by_hand(rewards, 0.5, over)[ORDER]
    assert torch.allclose(attached.weights, weights, rtol=1e-6)
    start = 0
    for a, b in zip(ours, stock, strict=True):
        part = weights[start : start + len(b.rewards), None]
        assert torch.allclose(a.advantages.double(), part * b.advantages.double(), rtol=1e-5)
        assert torch.equal(a.returns, b.returns)
        start += len(b.rewards)
    losses = -rewards.double()
    losses = losses.reshape(PROMPTS, SAMPLES).mean(1) if over == "prompt" else losses
    value = float(cp.kl_dro(losses, 0.5).value)
    assert ours[1].info["robust/value"].tolist() == pytest.approx([value, value], rel=1e-6)
    attached.detach()
    assert "compute_advantages_and_returns" not in vars(maker)
    again = maker.compute_advantages_and_returns(experiences()[0])
    assert all(torch.equal(a.advantages, b.advantages) for a, b in zip(again, stock, strict=True))


def test_the_policy_gradient_is_the_weighted_one_also_through_the_replay_buffer():
    maker = real_maker()
    attach(maker, RobustConfig("kl_dro", penalty=0.5, scope="world"))
    ours = maker.compute_advantages_and_returns(experiences()[0])
    stock = real_maker().compute_advantages_and_returns(experiences()[0])
    weights = by_hand(experiences()[1], 0.5, "prompt")
    loss_fn = PolicyLoss(token_level_loss=False)

    def gradient(batch):
        batch.action_log_probs.requires_grad_()
        loss, *_ = loss_fn(batch.action_log_probs, batch.action_log_probs.detach(), batch.advantages, batch.action_mask)
        loss.backward()
        return batch.action_log_probs.grad

    def rebuilt(made):  # as balance_experiences and the replay buffer take them apart
        return make_experience_batch(list(itertools.chain.from_iterable(split_experience_batch(e) for e in made)))

    mine, plain = rebuilt(ours), rebuilt(stock)
    assert len(mine.info["robust/ess"]) == len(ORDER)
    expected = weights[ORDER, None].float() * gradient(plain)
    assert torch.allclose(gradient(mine), expected, rtol=1e-5, atol=1e-8)
    assert expected.abs().sum() > 0


def test_columns_come_from_info():
    ratio = [1.0] * SAMPLES + [3.0] * SAMPLES + [0.5] * SAMPLES
    made, _ = experiences(weight=ratio)
    stock, _ = experiences()
    for a, b in zip(made, stock, strict=True):
        a.advantages = b.advantages = torch.ones(len(a.rewards), ACTIONS)
    weights = weigh_experiences(made, RobustConfig("weighted"), over="prompt", samples_per_prompt=SAMPLES)
    assert weights.tolist() == [ratio[i] for i in ORDER]
    assert made[0].advantages[:, 0].tolist() == [ratio[i] for i in ORDER[:4]]
    made, _ = experiences(group=[0] * SAMPLES + [1] * 2 * SAMPLES)
    for a in made:
        a.advantages = torch.ones(len(a.rewards), ACTIONS)
    weights = weigh_experiences(
        made, RobustConfig("group_dro", scope="world"), over="prompt", samples_per_prompt=SAMPLES
    )
    assert weights.tolist() == [PROMPTS if i < SAMPLES else 0.0 for i in ORDER]  # the first prompt is the worst group


@pytest.mark.parametrize(
    ("info", "config", "message"),
    [
        ({}, RobustConfig("weighted"), "experiences lack the column 'weight' in their info"),
        ({"weight": list(range(12))}, RobustConfig("weighted"), "column 'weight' differs within a prompt"),
        ({"weight": [-1.0] * 12}, RobustConfig("weighted"), "column 'weight' is .* finite numbers >= 0"),
    ],
)
def test_bad_columns_are_refused(info, config, message):
    made, _ = experiences(**info)
    for e in made:
        e.advantages = torch.ones(len(e.rewards), ACTIONS)
    with pytest.raises(ValueError, match=message):
        weigh_experiences(made, config, over="prompt", samples_per_prompt=SAMPLES)


@pytest.mark.parametrize(
    ("config", "over", "message"),
    [
        (RobustConfig("kl_dro", penalty=1.0), None, "scope is 'microbatch'; .* use scope='world'"),
        (RobustConfig("kl_dro", penalty=1.0, scope="running"), None, "scope is 'running'"),
        (RobustConfig("kl_dro", penalty=1.0, scope="world"), "token", "over is 'token'; it is one of prompt, sample"),
        (
            RobustConfig("kl_dro", penalty=1.0, scope="world", schedule="linear", final=0.5), None,
            "does not know",
        ),
    ],
)  # fmt: skip
def test_what_has_no_meaning_is_refused(config, over, message):
    with pytest.raises(ValueError, match=message):
        attach(real_maker(), config, over=over)


def test_a_maker_is_attached_to_once():
    maker = real_maker()
    config = RobustConfig("kl_dro", penalty=1.0, scope="world")
    attach(maker, config)
    with pytest.raises(RuntimeError, match="attached to this RemoteExperienceMaker already"):
        attach(maker, config)
