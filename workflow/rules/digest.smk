# The digest, a target of its own: it is asked for after the chain, however that ended.

INCIDENTS = [
    ROOT / f"data/incidents/{NIGHT.day}{end}" for end in (".parquet", "_findings.parquet", "_proposals.parquet", ".json")
]


rule digest:
    input:
        lambda wildcards: watched(NIGHT.digest_reads()),
        notebook=DIGEST,
        code=CODE_OF_DIGEST,
    output:
        INCIDENTS,
    log:
        REPORT / "digest.log",
    params:
        **FIXED,
        study="",
        parameters=lambda wildcards: json.dumps(NIGHT.digest_parameters()),
        sees=lambda wildcards: [NIGHT.findings_seen(), state_of(NIGHT.digest_reads())],
        later=[],
    shell:
        RUN
