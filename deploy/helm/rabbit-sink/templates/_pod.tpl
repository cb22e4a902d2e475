{{- /* The pod of Deployment, CronJob and test. Takes a dict: root, arguments, probes (none, liveness, all), restart. */}}
{{- define "rabbit-sink.pod" -}}
{{- $ := .root -}}
{{- $name := include "rabbit-sink.fullname" $ -}}
{{- with $.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
serviceAccountName: {{ include "rabbit-sink.serviceAccount" $ }}
# The worker asks nothing of the cluster.
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .restart }}
restartPolicy: {{ . }}
{{- end }}
# Above worker.shutdown_timeout: what isn't settled by then goes back to the broker and is counted against it.
terminationGracePeriodSeconds: {{ include "rabbit-sink.gracePeriod" $ }}
securityContext:
  {{- toYaml $.Values.podSecurityContext | nindent 2 }}
containers:
  - name: rabbit-sink
    image: {{ include "rabbit-sink.image" $ | quote }}
    imagePullPolicy: {{ $.Values.image.pullPolicy }}
    args: [{{ .arguments }}]
    env:
      - name: RABBIT_SINK_CONFIG
        value: /etc/rabbit-sink/rabbit-sink.toml
      # Over the config: probes and Prometheus come from outside the pod.
      - name: RABBIT_SINK__ADMIN__LISTEN
        value: {{ include "rabbit-sink.listen" $ | quote }}
      {{- with $.Values.env }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
    {{- with $.Values.envFrom }}
    envFrom:
      {{- toYaml . | nindent 6 }}
    {{- end }}
    ports:
      - name: admin
        containerPort: {{ $.Values.admin.port }}
    {{- if has .probes (list "liveness" "all") }}
    # Fails only where a restart helps: a loop that stands still. Never because something is away.
    livenessProbe:
      httpGet:
        path: /livez
        port: admin
      {{- toYaml $.Values.livenessProbe | nindent 6 }}
    {{- end }}
    {{- if eq .probes "all" }}
    # Fails while a pipeline is starting, reconnecting, holding or paused.
    readinessProbe:
      httpGet:
        path: /readyz
        port: admin
      {{- toYaml $.Values.readinessProbe | nindent 6 }}
    {{- end }}
    resources:
      {{- toYaml $.Values.resources | nindent 6 }}
    securityContext:
      {{- toYaml $.Values.securityContext | nindent 6 }}
    volumeMounts:
      - name: config
        mountPath: /etc/rabbit-sink
        readOnly: true
      {{- if $.Values.existingSecret }}
      - name: secrets
        mountPath: /run/secrets/rabbit-sink
        readOnly: true
      {{- end }}
      {{- with $.Values.extraVolumeMounts }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
volumes:
  - name: config
    configMap:
      name: {{ $name }}
  {{- with $.Values.existingSecret }}
  - name: secrets
    secret:
      secretName: {{ . }}
      # For the group alone, which is the worker's.
      defaultMode: 0440
  {{- end }}
  {{- with $.Values.extraVolumes }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- range $key := list "nodeSelector" "tolerations" "affinity" "topologySpreadConstraints" "priorityClassName" }}
{{- with get $.Values $key }}
{{ $key }}: {{ if kindIs "string" . }}{{ . }}{{ else }}{{ toYaml . | nindent 2 }}{{ end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "rabbit-sink.listen" -}}
{{- if contains ":" .Values.admin.address -}}
{{ printf "[%s]:%d" .Values.admin.address (int .Values.admin.port) }}
{{- else -}}
{{ printf "%s:%d" .Values.admin.address (int .Values.admin.port) }}
{{- end -}}
{{- end }}

{{- define "rabbit-sink.podMetadata" -}}
labels:
  {{- include "rabbit-sink.selector" . | nindent 2 }}
  {{- with .Values.podLabels }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- if or .Values.restartOnConfigChange .Values.podAnnotations }}
annotations:
  {{- if .Values.restartOnConfigChange }}
  # Another config is another pod.
  checksum/config: {{ sha256sum .Values.config }}
  {{- end }}
  {{- with .Values.podAnnotations }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end }}
{{- end }}
