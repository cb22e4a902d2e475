{{- define "rabbit-sink.name" -}}
{{ default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- /* 52 characters at most: the pods of a CronJob add eleven. */}}
{{- define "rabbit-sink.fullname" -}}
{{- $name := include "rabbit-sink.name" . -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains $name .Release.Name -}}
{{ .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{- define "rabbit-sink.selector" -}}
app.kubernetes.io/name: {{ include "rabbit-sink.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "rabbit-sink.labels" -}}
{{ include "rabbit-sink.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "rabbit-sink.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ default (include "rabbit-sink.fullname" .) .Values.serviceAccount.name }}
{{- else -}}
{{ default "default" .Values.serviceAccount.name }}
{{- end -}}
{{- end }}

{{- /* What nothing can stand in for, all of it in one message. */}}
{{- define "rabbit-sink.required" -}}
{{- $missing := list -}}
{{- if not .Values.image.repository -}}
{{- $missing = append $missing "image.repository is not set. No registry has an image of rabbit-sink: build one with deploy/Dockerfile, push it to a registry of yours and name it:\n  --set image.repository=registry.example.com/rabbit-sink" -}}
{{- end -}}
{{- if not .Values.config -}}
{{- $missing = append $missing "config is not set. It is the text of the config file, which `rabbit-sink init` drafts and `rabbit-sink check --offline` judges:\n  --set-file config=rabbit-sink.toml" -}}
{{- end -}}
{{- if $missing -}}
{{- fail (printf "\n\n%s\n" (join "\n\n" $missing)) -}}
{{- end -}}
{{- end }}

{{- define "rabbit-sink.image" -}}
{{- if .Values.image.digest -}}
{{ printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else -}}
{{ printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end -}}
{{- end }}
