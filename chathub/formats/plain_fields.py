"""The fields of a request that cost nothing but the tokens which limits count.

Providers add paid services as fields of their own (searches, plugins, tiers, other models), under names that
nobody knows before. So a limited caller's request keeps the fields that are known, and no others.
"""

_TOOLS = "tools tool_choice parallel_tool_calls functions function_call"
_OF_REQUEST = """model messages system suffix input instructions stream stream_options
    echo user metadata store session_id request_id user_id safety_identifier
    prompt_cache_key prompt_cache_retention cache_control cache_prompt prediction usage transforms"""
_LEAST = "min_tokens ignore_eos"
_SAMPLING = """temperature top_p top_k top_a min_p typical_p tfs_z seed random_seed do_sample stop
    stop_token_ids stop_sequences presence_penalty frequency_penalty repetition_penalty
    repeat_penalty repeat_last_n length_penalty no_repeat_ngram_size logit_bias bad_words mirostat
    mirostat_tau mirostat_eta dynatemp_range dynatemp_exponent xtc_probability xtc_threshold
    dry_multiplier dry_base dry_allowed_length dry_penalty_last_n dry_sequence_breakers
    smoothing_factor samplers"""
_FORM = """response_format text verbosity logprobs top_logprobs n_probs modalities audio image_config
    guided_json guided_regex guided_choice guided_grammar structured_outputs json_schema regex ebnf
    grammar include_stop_str_in_output skip_special_tokens spaces_between_special_tokens prefix
    safe_prompt add_generation_prompt continue_final_message add_special_tokens chat_template_kwargs
    mm_processor_kwargs truncate_prompt_tokens tool_stream incremental_output result_format
    vl_high_resolution_images translation_options"""
_THINKING = """thinking reasoning reasoning_effort reasoning_format reasoning_split include_reasoning
    separate_reasoning stream_reasoning enable_thinking thinking_budget preserve_thinking
    clear_thinking think prompt_mode"""
_OF_RESPONSES = """include max_tool_calls truncation previous_response_id conversation background
    background_options client_metadata"""
_OF_ANTHROPIC = "context_management output_config output_format diagnostics"


def _names(*groups: str) -> frozenset[str]:
    return frozenset(" ".join(groups).split())


# without what multiplies a reply or says its length: each path has its own such fields, and reserves them
_COMMON = _names(_TOOLS, _OF_REQUEST, _LEAST, _SAMPLING, _FORM, _THINKING)
OPENAI = _COMMON | _names("n max_tokens max_completion_tokens")
COMPLETIONS = _COMMON | _names("prompt n best_of max_tokens")
RESPONSES = _COMMON | _names(_OF_RESPONSES, "max_output_tokens")
# with those of OpenAI's for the servers that have both formats
ANTHROPIC = _COMMON | _names(_OF_ANTHROPIC, "max_tokens")
