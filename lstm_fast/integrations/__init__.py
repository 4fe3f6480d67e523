"""Silero VAD where voice services look for one: modules with the interfaces of their frameworks.

from lstm_fast.integrations.pipecat import SileroVADAnalyzer  # for pipecat-ai
from lstm_fast.integrations.livekit import VAD  # for livekit-agents

Each module imports its framework, and nothing here imports a module.
"""
