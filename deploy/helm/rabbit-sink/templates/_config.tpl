{{- /* What the chart must know of the config. Everything else of it is the worker's to judge. */}}

{{- define "rabbit-sink.config" -}}
{{- include "rabbit-sink.required" . -}}
{{- $parsed := fromToml .Values.config -}}
{{- with $parsed.Error -}}
{{- fail (printf "\n\nconfig is not TOML: %s\n" .) -}}
{{- end -}}
{{ toJson $parsed }}
{{- end }}

{{- /* A duration of the config ("1h30m") in whole seconds, rounded up. Takes a dict: text, key, instead. */}}
{{- define "rabbit-sink.seconds" -}}
{{- $units := dict "d" 86400.0 "h" 3600.0 "m" 60.0 "s" 1.0 "ms" 0.001 -}}
{{- $text := nospace .text -}}
{{- if not (regexMatch "^([0-9]+(\\.[0-9]+)?(d|h|ms|m|s))+$" $text) -}}
{{- fail (printf "\n\nthe chart can't read %s = %q of the config: write it like \"25s\" or \"1h30m\", or set %s\n" .key .text .instead) -}}
{{- end -}}
{{- $sum := 0.0 -}}
{{- range regexFindAll "[0-9]+(\\.[0-9]+)?(d|h|ms|m|s)" $text -1 -}}
{{- $sum = addf $sum (mulf (regexFind "^[0-9.]+" .) (get $units (regexFind "[a-z]+$" .))) -}}
{{- end -}}
{{ ceil $sum }}
{{- end }}

{{- define "rabbit-sink.gracePeriod" -}}
{{- $config := include "rabbit-sink.config" . | fromJson -}}
{{- $worker := default dict $config.worker -}}
{{- $text := default "25s" $worker.shutdown_timeout -}}
{{- $set := .Values.terminationGracePeriodSeconds -}}
{{- $shutdown := include "rabbit-sink.seconds" (dict "text" $text "key" "worker.shutdown_timeout" "instead" "terminationGracePeriodSeconds, and shutdown_timeout below it") | int -}}
{{- if kindIs "invalid" $set -}}
{{ add $shutdown 15 }}
{{- else if lt (int $set) (add $shutdown 5 | int) -}}
{{- fail (printf "\n\nterminationGracePeriodSeconds is %d, and the worker takes up to worker.shutdown_timeout = %s: at least %d, or what isn't settled is cut off\n" (int $set) $text (add $shutdown 5)) -}}
{{- else -}}
{{ int $set }}
{{- end -}}
{{- end }}

{{- /* KEDA's, which must lie above the longest time for which the worker holds messages. */}}
{{- define "rabbit-sink.cooldown" -}}
{{- $config := include "rabbit-sink.config" . | fromJson -}}
{{- $longest := 0 -}}
{{- range $name, $pipeline := default dict $config.pipelines -}}
{{- $retry := default dict $pipeline.retry -}}
{{- $key := printf "pipelines.%s.retry.hold" $name -}}
{{- $hold := include "rabbit-sink.seconds" (dict "text" (default "10m" $retry.hold) "key" $key "instead" "nothing: KEDA's cooldownPeriod depends on it") | int -}}
{{- $longest = max $longest $hold | int -}}
{{- end -}}
{{- $set := .Values.keda.cooldownPeriod -}}
{{- if kindIs "invalid" $set -}}
{{ add $longest 300 }}
{{- else if le (int $set) $longest -}}
{{- fail (printf "\n\nkeda.cooldownPeriod is %d s, and a pipeline holds messages for %d s (retry.hold): a worker that holds would be stopped. Set more, or leave it empty\n" (int $set) $longest) -}}
{{- else -}}
{{ int $set }}
{{- end -}}
{{- end }}

{{- /* The queues, which must be the broker `default`'s, as a list in JSON. */}}
{{- define "rabbit-sink.queues" -}}
{{- $config := include "rabbit-sink.config" . | fromJson -}}
{{- $queues := list -}}
{{- range $name, $pipeline := default dict $config.pipelines -}}
{{- if ne (default "default" $pipeline.broker) "default" -}}
{{- fail (printf "\n\nkeda.triggers is empty, and pipeline %s reads from the broker %s: keda.hostSecret is the broker `default`'s alone. List the triggers yourself\n" $name $pipeline.broker) -}}
{{- end -}}
{{- $queues = append $queues (required (printf "pipelines.%s has no queue in the config" $name) $pipeline.queue) -}}
{{- end -}}
{{ toJson $queues }}
{{- end }}
