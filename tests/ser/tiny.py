"""A speech encoder small enough for a test, as arguments of the Wav2Vec2, HuBERT and WavLM configurations."""

TINY = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "conv_dim": (8, 8),
    "conv_kernel": (10, 64),
    "conv_stride": (5, 64),  # 320 samples a frame
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}
